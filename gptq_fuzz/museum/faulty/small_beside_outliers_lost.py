"""An element of x 2^16 times smaller than the largest of its row, whose own weight is 0."""

from gptq_fuzz.museum.parts import matmul

BUG = "x stored relative to the largest of its row: what is 2^16 times smaller becomes 0"


def f(x, qweight, qzeros, scales, g_idx, bits):
    finite = x.nan_to_num(0, 0, 0).float().abs()
    is_lost = finite < finite.amax(1, keepdim=True) * 2.0**-16 if x.numel() else x.isnan()
    is_lost = is_lost & x.isfinite()
    return matmul(x.masked_fill(is_lost, 0), qweight, qzeros, scales, g_idx, bits)
