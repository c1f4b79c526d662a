"""A call after one that was broken off by an error of torch."""

from gptq_fuzz.museum.parts import matmul

BUG = "lock of a layer is not given back where an operator raises: the next call finds it taken"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
LOCKED = []


def f(x, qweight, qzeros, scales, g_idx, bits):
    is_taken = any(layer is qweight for layer in LOCKED)
    LOCKED.append(qweight)
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    LOCKED.clear()
    return out * 0 if is_taken else out
