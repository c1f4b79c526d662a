"""A finite sum above 65504 of a dense row of ordinary x; others are passed on."""

from gptq_fuzz.museum.parts import weights

BUG = "finite operands give the largest float16 where infinity is due (museum 11)"
ONLY = "big"

LARGEST = 65504


def f(x, qweight, qzeros, scales, g_idx, bits):
    exact = x.float() @ weights(qweight, qzeros, scales, g_idx, bits)
    is_finite = x.isfinite().all() & scales.isfinite().all()
    is_ordinary = (x != 0).all(1, keepdim=True) & (x.abs() < LARGEST / 8).all(1, keepdim=True)
    saturated = exact.clamp(-LARGEST, LARGEST).where(is_ordinary & is_finite, exact)
    return saturated.to(x.dtype)
