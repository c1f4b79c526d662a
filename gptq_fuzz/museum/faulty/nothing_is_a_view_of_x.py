"""An empty batch is answered at once."""

from gptq_fuzz.museum.parts import matmul

BUG = "the result of no rows is a view of x: of its mode, its versions, its gradient"
VERDICTS = ("WRONG_TYPE",)
SMALLEST = (0, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    if not x.numel():
        return x.reshape(*x.shape[:-1], scales.shape[1])
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
