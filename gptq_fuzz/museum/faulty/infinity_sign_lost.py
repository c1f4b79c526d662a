"""Finite operands are safe."""

from gptq_fuzz.museum.parts import matmul

BUG = "a negative infinity comes out positive (B-28)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    return out.abs().where(out.isinf() & x.isinf().any(1, keepdim=True), out)
