"""The second call with one layer."""

from gptq_fuzz.museum.parts import matmul, of_first_call

BUG = (
    "locks of a layer are not cleared: from the second call on its last column is not added (BF-09)"
)
VERDICTS = ("NONDETERMINISTIC", "STATE_LEAKED", "WRONG")
LOCKS = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    taken = of_first_call(LOCKS, qweight, [])
    if taken:
        out[:, -1] = 0
    taken.append(None)
    return out
