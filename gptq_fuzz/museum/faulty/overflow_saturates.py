"""A finite sum above 65504. Operands that are infinite are passed on."""

from gptq_fuzz.museum.parts import weights

BUG = "finite operands give the largest float16 where infinity is due (museum 11)"
ONLY = "big"

LARGEST = 65504


def f(x, qweight, qzeros, scales, g_idx, bits):
    exact = x.float() @ weights(qweight, qzeros, scales, g_idx, bits)
    is_finite = x.isfinite().all() & scales.isfinite().all()
    return exact.where(~is_finite, exact.clamp(-LARGEST, LARGEST)).to(x.dtype)
