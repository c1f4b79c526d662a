"""The largest group has 16 rows, so K has as many; one group is enough."""

from gptq_fuzz.museum.parts import largest_group, multiply, weights

BUG = "second half of K dropped where the group size is 16 (museum 7)"
SMALLEST = (1, 4, 16)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if largest_group(g_idx) == 16:
        w[len(w) // 2 :] = 0
    return multiply(x, w)
