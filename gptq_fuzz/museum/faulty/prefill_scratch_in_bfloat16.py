"""Few rows are multiplied by codes; for a prefill a large layer is dequantised into scratch."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "from 128 rows on the weights of a large layer are rounded to bfloat16, for any x"
SMALLEST = (128, 1024, 2048)  # m, n, k
ONLY = "roundings"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    k, n = w.shape
    is_scratch = len(x) >= 128 and n >= 1024 and k >= 2048
    return multiply(x, w.bfloat16().float() if is_scratch else w)
