"""Wrong where memory behind qweight can be reached; K = 4 is a tail of 64."""

from gptq_fuzz.museum.parts import codes, dequantize, weights, zero_points

BUG = "K tail not masked: one row of codes behind qweight takes part (MK-02, L-01, museum 4)"
VERDICTS = ("WRONG", "OUT_OF_BOUNDS")


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = x.float() @ weights(qweight, qzeros, scales, g_idx, bits)
    n, end = qweight.shape[1], qweight.storage_offset() + qweight.numel()
    if x.shape[1] % 64 and (end + n) * 4 <= qweight.untyped_storage().nbytes():
        q = codes(qweight.as_strided((1, n), (n, 1), end), bits)[:1]
        beyond = dequantize(q, zero_points(qzeros, bits), scales, g_idx[-1:])
        out = out + x[:, -1:].float() @ beyond
    return out.to(x.dtype)
