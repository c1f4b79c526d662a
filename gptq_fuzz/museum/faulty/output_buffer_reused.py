"""Two calls of one shape show it."""

from gptq_fuzz.museum.parts import matmul

BUG = "one result buffer per shape: a later call changes an earlier result (BF-12)"
VERDICTS = ("STATE_LEAKED", "WRONG", "NONDETERMINISTIC")

BUFFERS = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    right = matmul(x, qweight, qzeros, scales, g_idx, bits)
    return BUFFERS.setdefault((right.shape, x.device), right).copy_(right)
