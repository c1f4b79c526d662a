"""Two calls of one shape show it."""

from gptq_fuzz.museum.parts import matmul

BUG = "result added onto that of the call before, if of the same shape (AC-10, AT-08, L-40)"
VERDICTS = ("STATE_LEAKED", "WRONG", "NONDETERMINISTIC")

LAST = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    key = out.shape, x.device
    LAST[key], last = out, LAST.get(key, 0)
    return out + last
