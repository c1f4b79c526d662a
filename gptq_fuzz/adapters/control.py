"""The control: plain torch as a Backend that takes every axis and refuses every bad input."""

from __future__ import annotations

import contextlib
import math
import threading

import torch

from gptq_fuzz.case.axes import (
    DTYPES,
    FORMATS,
    G_IDX_KINDS,
    RANKS,
    SCALES_DTYPES,
    STRIDED,
    USUAL_CONDITIONS,
    WHOLE_GROUP,
    WORD_BITS,
)
from gptq_fuzz.case.backend import Backend, Limits, Numerics

WIDTHS = (8, 4, 2, 3)  # bits of a code
X_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
_PRECISION = threading.Lock()  # cuBLAS reads it where a product is launched
ZERO_OFFSET = {"v1": 1, "v2": 0}


def matmul(*, x, bias, **weights):
    """x [..., K] times the dequantised weight, in x's dtype -> [..., N]."""
    out = _product(x, _dequantize(x, **weights))
    return out if bias is None else out + bias


def gradient(*, grad, bias, **weights):
    """grad [..., N] times the transposed weight -> [..., K]."""
    del bias
    return _product(grad, _dequantize(grad, columns_dim=1, **weights).T)


def _product(left, right):
    """left [..., R] times right [R, C], in float32 sums, rounded once."""
    if left.dtype == torch.bfloat16 and not left.is_cuda:
        # On CPUs with AMX, oneDNN reads on into the next row where R > 32 is no multiple of 32:
        # an infinity there times its zeros is NaN here.
        return torch.matmul(left.float(), right.float()).to(left.dtype)
    if left.is_cuda and max(left.stride(), default=0) >= 2**31:  # more than cuBLAS's integers hold
        left = left.contiguous()
    with _PRECISION, _full_precision():
        return torch.matmul(left, right)


@contextlib.contextmanager
def _full_precision():
    """float32 accumulation: no reduced-precision reductions in cuBLAS."""
    cuda = torch.backends.cuda.matmul
    before = (
        cuda.allow_fp16_reduced_precision_reduction,
        cuda.allow_bf16_reduced_precision_reduction,
    )
    cuda.allow_fp16_reduced_precision_reduction = False
    cuda.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        cuda.allow_fp16_reduced_precision_reduction = before[0]
        cuda.allow_bf16_reduced_precision_reduction = before[1]


def _fields(words: torch.Tensor, bits: int, dim: int) -> torch.Tensor:
    """int32 words -> their codes, side by side along `dim`."""
    width = math.gcd(WORD_BITS, bits)  # of the parts of a code, of which none crosses a border
    shifts = torch.arange(0, WORD_BITS, width, device=words.device, dtype=torch.int32)
    shape = (1, -1, 1) if dim == 0 else (1, 1, -1)
    parts = (words.unsqueeze(dim + 1) >> shifts.view(shape)) & (2**width - 1)
    parts = parts.flatten(dim, dim + 1)
    if width == bits:
        return parts
    if parts.shape[dim] * width % bits:
        raise ValueError(f"wanted whole codes of {bits} bits, got {words.shape[dim]} words")
    places = torch.arange(0, bits, width, device=words.device, dtype=torch.int32)
    return (parts.unflatten(dim, (-1, bits // width)) << places.view(shape)).sum(dim + 1)


def _dequantize(
    x, *, qweight, qzeros, scales, g_idx, bits, group_size, checkpoint_format, columns_dim=0
):
    """-> W [K, N] in x's dtype, each weight computed in float32 and rounded once."""
    _require_types(x, qweight, qzeros, scales, bits)
    codes = _fields(qweight, bits, 0)
    zeros = (_fields(qzeros, bits, 1) + ZERO_OFFSET[checkpoint_format]) & (2**bits - 1)
    k = codes.shape[0]
    if g_idx is None:
        rows_per_group = k if group_size == WHOLE_GROUP else group_size
        g_idx = torch.arange(k, device=x.device) // rows_per_group
    _require_shapes(x, codes, zeros, scales, g_idx, columns_dim)
    group = g_idx.long()
    return ((codes - zeros[group]) * scales.float()[group]).to(x.dtype)


def _require_types(x, qweight, qzeros, scales, bits) -> None:
    if bits not in WIDTHS:
        raise NotImplementedError(f"wanted bits of {WIDTHS}, got {bits}")
    wanted = {
        "x": X_DTYPES,
        "qweight": (torch.int32,),
        "qzeros": (torch.int32,),
        "scales": X_DTYPES,
    }
    for (name, dtypes), tensor in zip(wanted.items(), (x, qweight, qzeros, scales), strict=True):
        if tensor.dtype not in dtypes:
            raise TypeError(f"wanted {name} of {dtypes}, got {tensor.dtype}")
        if tensor.device != qweight.device:
            raise ValueError(f"wanted {name} on {qweight.device}, got {tensor.device}")
        if name != "x" and tensor.dim() != 2:
            raise ValueError(f"wanted {name} of rank 2, got shape {tuple(tensor.shape)}")


def _require_shapes(x, codes, zeros, scales, g_idx, columns_dim) -> None:
    if x.shape[-1] != codes.shape[columns_dim]:
        raise ValueError(f"wanted x with {codes.shape[columns_dim]} columns, got {x.shape[-1]}")
    if zeros.shape[1] != codes.shape[1] or scales.shape != zeros.shape:
        raise ValueError(
            f"wanted zeros and scales with {codes.shape[1]} columns, got {tuple(zeros.shape)} "
            f"and {tuple(scales.shape)}"
        )
    if g_idx.dtype.is_floating_point or g_idx.shape != codes.shape[:1]:
        raise ValueError(
            f"wanted integers of shape {tuple(codes.shape[:1])} as g_idx, got {g_idx.dtype} "
            f"{tuple(g_idx.shape)}"
        )
    low, high = (int(bound) for bound in torch.aminmax(g_idx))
    if low < 0 or high >= scales.shape[0]:
        raise ValueError(f"wanted g_idx in 0..{scales.shape[0] - 1}, got {low}..{high}")


TORCH = Backend(
    name="torch",
    matmul=matmul,
    gradient=gradient,
    limits=Limits(
        bits=WIDTHS,
        dtypes=DTYPES,
        scales_dtypes=SCALES_DTYPES,
        formats=FORMATS,
        g_idx=G_IDX_KINDS,
        ranks=RANKS,
        strided=STRIDED,
        bias=True,
        backward=True,
        conditions=(*USUAL_CONDITIONS, "oom"),
    ),
    numerics=Numerics(weights=("x",), folds_zero=False),
)
