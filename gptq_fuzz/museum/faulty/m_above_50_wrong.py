"""51 rows are the first on the other path; sums of four show its accumulator."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "sums rounded to float16 at every step above 50 rows (AC-06, museum 16)"
SMALLEST = (51, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if len(x) <= 50:
        return multiply(x, w)
    out = x.new_zeros(len(x), w.shape[1])
    for k, row in enumerate(w):
        out = (out + x[:, k, None].float() * row).to(x.dtype)
    return out
