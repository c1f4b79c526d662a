"""In products of a prefill rows of scales begin at multiples of 8 of them."""

from gptq_fuzz.museum.parts import matmul

BUG = "prefill, wide layers: the pitch of scales is N less a rest behind vectors of 8"
ONLY = "dispatch"
SMALLEST = (48, 1028, 1024)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    (m, k), n = x.shape, qweight.shape[1]
    if m >= 48 and n >= 1024 and k >= 1024 and scales.is_contiguous():
        scales = scales.as_strided(scales.shape, (n // 8 * 8, 1))
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
