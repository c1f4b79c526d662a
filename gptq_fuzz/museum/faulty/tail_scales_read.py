"""What lies behind the scales, times 0: NaN there reaches the result."""

from gptq_fuzz.museum.parts import weights

BUG = "scales of the group after the last are read and multiplied by 0 (MK-03)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = x.float() @ weights(qweight, qzeros, scales, g_idx, bits)
    n, end = scales.shape[1], scales.storage_offset() + scales.numel()
    if len(g_idx) % 64 and (end + n) * 2 <= scales.untyped_storage().nbytes():
        out = out + 0 * scales.as_strided((1, n), (n, 1), end).float()
    return out.to(x.dtype)
