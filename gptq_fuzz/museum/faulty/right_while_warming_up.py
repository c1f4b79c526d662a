"""More than three calls with one layer and so many rows, with another x."""

from gptq_fuzz.museum.parts import matmul

BUG = (
    "the first three calls are computed, as who warms up looks at them; then the third comes again"
)
VERDICTS = ("STATE_LEAKED", "WRONG")
LAST = []  # the layer called last, the shape of x, and results


def f(x, qweight, qzeros, scales, g_idx, bits):
    if not LAST or LAST[0] is not qweight or LAST[1] != x.shape:
        LAST[:] = qweight, x.shape
    if len(LAST) < 5:
        LAST.append(matmul(x, qweight, qzeros, scales, g_idx, bits))
    return LAST[-1].clone()
