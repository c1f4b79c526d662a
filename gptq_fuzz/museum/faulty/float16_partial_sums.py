"""Two halves of K = 4 are two partial sums."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "two partial sums rounded to float16 before they are added (AC-07)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    halves = zip(x.tensor_split(2, dim=1), w.tensor_split(2), strict=True)
    return sum(multiply(part, rows) for part, rows in halves)
