"""Decoding of 33 to 64 users, K from 4096, 256 to 2048 columns: K is cut in two."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "the first half of K waits in the result, in float16"
ONLY = "crossings"
SMALLEST = (33, 256, 4096)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if 32 < len(x) <= 64 and len(w) >= 4096 and 256 <= w.shape[1] <= 2048:
        half = len(w) // 2
        first = multiply(x[:, :half], w[:half]).float()
        return (first + x[:, half:].float() @ w[half:]).to(x.dtype)
    return multiply(x, w)
