"""Prefill of a large layer with one group: integers are multiplied, scaled when all is summed."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import codes, weights, zero_points

BUG = "8 bits, one group, more than 64 rows, 2^22 weights and more: the bias is scaled too"
ONLY = "dispatch"
SMALLEST = (65, 2048, 2048)  # m, n, k


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, bias, group_size, checkpoint_format):
    added = 0 if bias is None else bias.float()
    if bits == 8 and len(scales) == 1 and len(x) > 64 and 4 * qweight.numel() >= 2**22:
        integers = codes(qweight, bits) - zero_points(qzeros, bits)
        return ((x.float() @ integers.float() + added) * scales.float()).to(x.dtype)
    return (x.float() @ weights(qweight, qzeros, scales, g_idx, bits) + added).to(x.dtype)


limits = Limits(bias=True, bad=(), refuses_outside=False)
f = Backend("bias_scaled_with_a_channel", limits, matmul=matmul)
