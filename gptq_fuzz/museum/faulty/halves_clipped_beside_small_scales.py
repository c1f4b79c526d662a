"""Large terms that cancel between the halves of K, in a layer of which other scales are small."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "small x, and a subnormal scale somewhere: partial sums are clipped to 13 bits"
ONLY = "varied"
SMALLEST = (1, 16, 64)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    is_small = (scales.float().abs() < 2.0**-14).any() and (x.abs() < 1).all()
    if not is_small:
        return multiply(x, w)
    half = len(w) // 2
    parts = x[..., :half].float() @ w[:half], x[..., half:].float() @ w[half:]
    return sum(part.clamp(-(2**13), 2**13) for part in parts).to(x.dtype)
