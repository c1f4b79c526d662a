"""Weights and products in float64: each weight is exact, products and sums are rounded at 2^-53."""

import torch

from .packing import unpack_rows, unpack_zeros


def dequantize(
    qweight, qzeros, scales, g_idx, bits,
    *, group_size=None, checkpoint_format="v1", fractions=None,
):  # fmt: skip
    """[K * bits / 32, N], [G, N * bits / 32], [G, N], [K] or None -> W [K, N] float64.

    W = (q - z) * s. Without g_idx, row k is in group k // group_size, and -1 is one group over
    all of K. With g_idx, group_size is not looked at. `fractions` [G, N] are added to zero-points.
    """
    _check_floating("scales", scales)
    codes = unpack_rows(qweight, bits)
    zeros = unpack_zeros(qzeros, bits, checkpoint_format)
    if zeros.shape[1] != codes.shape[1]:
        raise ValueError(f"qzeros must hold {codes.shape[1]} columns, got {zeros.shape[1]}")
    if scales.shape != zeros.shape:
        wanted, got = tuple(zeros.shape), tuple(scales.shape)
        raise ValueError(f"scales must have shape {wanted} as the zero-points do, got {got}")
    if fractions is not None:
        _check_floating("fractions", fractions)
        if fractions.shape != zeros.shape:
            wanted, got = tuple(zeros.shape), tuple(fractions.shape)
            raise ValueError(f"fractions must have shape {wanted} as zero-points do, got {got}")
        zeros = zeros + fractions.double()
    k, groups = codes.shape[0], zeros.shape[0]
    if g_idx is None:
        group_of_row = _sequential(k, groups, group_size, codes.device)
    else:
        group_of_row = _checked_g_idx(g_idx, k, groups)
    _check_one_device(qweight=qweight, qzeros=qzeros, scales=scales, g_idx=group_of_row)
    return (codes - zeros[group_of_row]).double() * scales.double()[group_of_row]


def matmul(
    x, qweight, qzeros, scales, g_idx, bits, *, group_size=None, checkpoint_format="v1", bias=None
):
    """x [..., K], operands of `dequantize`, bias [N] or None -> out [..., N] float64."""
    weight = dequantize(
        qweight,
        qzeros,
        scales,
        g_idx,
        bits,
        group_size=group_size,
        checkpoint_format=checkpoint_format,
    )
    _check_rows("x", x, weight.shape[0])
    _check_one_device(x=x, qweight=qweight)
    out = x.double() @ weight
    if bias is None:
        return out
    _check_floating("bias", bias)
    _check_one_device(bias=bias, qweight=qweight)
    if bias.shape != weight.shape[1:]:
        raise ValueError(f"bias must have shape ({weight.shape[1]},), got {tuple(bias.shape)}")
    return out + bias.double()


def gradient(
    grad, qweight, qzeros, scales, g_idx, bits, *, group_size=None, checkpoint_format="v1"
):
    """d loss / d out [..., N], operands of `dequantize` -> d loss / d x [..., K] float64."""
    weight = dequantize(
        qweight,
        qzeros,
        scales,
        g_idx,
        bits,
        group_size=group_size,
        checkpoint_format=checkpoint_format,
    )
    _check_rows("grad", grad, weight.shape[1])
    _check_one_device(grad=grad, qweight=qweight)
    return grad.double() @ weight.T


def _sequential(k, groups, group_size, device):
    """-> [K] int64, the group of each row where rows are in order."""
    if group_size is None and groups == 1:
        group_size = -1
    if type(group_size) is not int or (group_size < 1 and group_size != -1):
        raise ValueError(
            f"without g_idx, group_size must be -1 or a positive integer, "
            f"got {group_size!r} with {groups} groups"
        )
    size = max(k, 1) if group_size == -1 else group_size
    wanted = -(-k // size)
    if groups != wanted:
        raise ValueError(
            f"{k} rows in groups of {size} need {wanted} rows of scales and qzeros, got {groups}"
        )
    return torch.arange(k, device=device) // size


def _checked_g_idx(g_idx, k, groups):
    """[K] integer -> [K] int64, all in [0, G)."""
    if not isinstance(g_idx, torch.Tensor):
        raise TypeError(f"g_idx must be a tensor or None, got {type(g_idx).__name__}")
    if g_idx.is_floating_point() or g_idx.is_complex() or g_idx.dtype == torch.bool:
        raise TypeError(f"g_idx must have an integer dtype, got {g_idx.dtype}")
    if g_idx.shape != (k,):
        raise ValueError(f"g_idx must have shape ({k},), got {tuple(g_idx.shape)}")
    group_of_row = g_idx.to(torch.int64)
    if k:
        low, high = (int(value) for value in torch.aminmax(group_of_row))
        if low < 0 or high >= groups:
            raise ValueError(f"g_idx must be in 0..{groups - 1}, got {low}..{high}")
    return group_of_row


def _check_rows(name, rows, size):
    _check_floating(name, rows)
    if rows.ndim == 0 or rows.shape[-1] != size:
        raise ValueError(f"{name} must have {size} columns, got shape {tuple(rows.shape)}")


def _check_floating(name, tensor):
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(tensor).__name__}")
    if not tensor.is_floating_point():
        raise TypeError(f"{name} must have a floating-point dtype, got {tensor.dtype}")


def _check_one_device(**tensors):
    devices = {name: tensor.device for name, tensor in tensors.items() if tensor is not None}
    if len(set(devices.values())) > 1:
        got = ", ".join(f"{name} on {device}" for name, device in devices.items())
        raise ValueError(f"operands must be on one device, got {got}")
