"""The largest group has 32 rows, so K has as many; one group is enough."""

from gptq_fuzz.museum.parts import largest_group, multiply, weights

BUG = "second half of K dropped where the group size is 32 (GI-10, museum 2)"
SMALLEST = (1, 4, 32)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if largest_group(g_idx) == 32:
        w[len(w) // 2 :] = 0
    return multiply(x, w)
