"""A layer that is asked for fewer rows than before."""

from gptq_fuzz.museum.parts import matmul, of_first_call

BUG = (
    "launch grid of a layer is that of its first call: fewer rows later come back as zeros (BF-08)"
)
SMALLEST = (2, 4, 4)  # m, n, k
ONLY = "row alone"

ROWS = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    rows = of_first_call(ROWS, qweight, len(x))
    return out if len(x) >= rows else out * 0
