"""Quantises weights onto given scales and zero-points, and packs the codes into int32 words."""

import torch

from .checks import WORD_BITS

ZERO_OFFSET = 1  # GPTQ v1 checkpoints store the zero-point minus one, modulo 2**bits
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
ROWS_AT_A_TIME = 1024  # float64 copies of a whole layer would be large


def pack_layer(weight, scales, zeros, g_idx, bits):
    """W [N, K], scales and zeros [N, G], g_idx [K] -> qweight, qzeros, float16 scales [G, N].

    Codes are round(W / scale + zero), half to even, clamped to [0, maxq]; the scale is the stored
    float16 one.
    """
    maxq = 2**bits - 1
    if not weight.isfinite().all():
        raise ValueError("weights must be finite, there are NaN or infinite ones")
    stored = _storable_scales(scales).t().contiguous()
    points = _zero_points(zeros, maxq).t()
    groups = g_idx.long()
    words = []
    for rows in torch.arange(weight.shape[1], device=weight.device).split(ROWS_AT_A_TIME):
        steps = weight[:, rows].t().double() / stored[groups[rows]].double()
        codes = (steps + points[groups[rows]]).round().clamp(0, maxq)
        words.append(pack_fields(codes.long(), bits))
    qzeros = pack_fields(((points - ZERO_OFFSET) & maxq).t(), bits).t().contiguous()
    return torch.cat(words), qzeros, stored


def pack_fields(fields, bits):
    """int64 [rows, columns], each in [0, 2**bits) -> int32 [rows * bits // 32, columns]."""
    pack_factor = WORD_BITS // bits
    shifts = torch.arange(pack_factor, device=fields.device) * bits
    words = (fields.unflatten(0, (-1, pack_factor)) << shifts[:, None]).sum(dim=1)
    return words.int()  # the low 32 bits: the highest becomes the sign


def finite_half(name, tensor):
    """The tensor in float16, detached; what float16 cannot hold is refused."""
    half = tensor.detach().half()
    if not half.isfinite().all():
        raise ValueError(f"{name} must be finite in float16: some are NaN, infinite or too large")
    return half


def _storable_scales(scales):
    stored = finite_half("scales", scales)
    if (stored == 0).any():
        raise ValueError("scales must not be 0 in float16: some are 0 or too small")
    return stored


def _zero_points(zeros, maxq):
    points = zeros.detach().double()
    if not ((points >= 0) & (points <= maxq) & (points == points.round())).all():
        raise ValueError(f"zero-points must be integers in [0, {maxq}], some are not")
    return points.long()
