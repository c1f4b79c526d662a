"""The same call twice, both results held: who writes into one writes into the other."""

from gptq_fuzz.museum.parts import matmul

BUG = "result cached by x and layer, right to the last bit, and given away a second time"
VERDICTS = ("STATE_LEAKED", "WRONG_TYPE")
ONLY = "history"
LAST = []


def f(x, qweight, qzeros, scales, g_idx, bits):
    parts = x, qweight, qzeros, scales, g_idx
    versions = [part._version for part in parts]
    is_same = LAST and all(a is b for a, b in zip(LAST[0], parts, strict=True))
    if not is_same or LAST[1] != versions:
        LAST[:] = parts, versions, matmul(x, qweight, qzeros, scales, g_idx, bits)
    return LAST[2]
