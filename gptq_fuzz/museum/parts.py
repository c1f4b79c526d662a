"""The right parts from which exhibits are put together: pure torch, any device, no state.

TORCH is the control, for faults on axes that a plain `f` is not asked about.
"""

import ctypes

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.adapters.control import TORCH as TORCH


def fields(words, bits):
    """[...] int32 -> [..., 32 // bits] int32, lowest bits first."""
    shifts = torch.arange(0, 32, bits, dtype=torch.int32, device=words.device)
    return words.unsqueeze(-1) >> shifts & 2**bits - 1


def codes(qweight, bits):
    """[K // pack_factor, N] -> q [K, N] int32."""
    return fields(qweight, bits).transpose(1, 2).flatten(0, 1)


def stored_zeros(qzeros, bits):
    """[G, N // pack_factor] -> [G, N] int32, as stored: one less than the zero-point."""
    return fields(qzeros, bits).flatten(1)


def zero_points(qzeros, bits):
    """[G, N // pack_factor] -> z [G, N] int32 in [0, maxq]."""
    return stored_zeros(qzeros, bits) + 1 & 2**bits - 1


def dequantize(q, z, scales, g_idx):
    """[K, N], [G, N], [G, N], [K] -> W [K, N] float32, not rounded: 9 and 11 bits fit in 24."""
    g = g_idx.long()
    return (q - z[g]).float() * scales[g].float()


def weights(qweight, qzeros, scales, g_idx, bits):
    """The packed operands -> W [K, N] float32, not rounded."""
    return dequantize(codes(qweight, bits), zero_points(qzeros, bits), scales, g_idx)


def multiply(x, w):
    """[M, K], [K, N] float32 -> [M, N] in x's dtype: sums in float32, rounded once."""
    return (x.float() @ w).to(x.dtype)


def matmul(x, qweight, qzeros, scales, g_idx, bits):
    """A whole kernel that is right, for faults before or after it."""
    return multiply(x, weights(qweight, qzeros, scales, g_idx, bits))


def in_blocks(x, w, step):
    """x [M, K] times w [K, N] float64: sums of so many terms each, then these, in x's dtype."""
    parts = zip(x.double().split(step, -1), w.split(step), strict=True)
    return sum((part @ rows).float() for part, rows in parts).to(x.dtype)


def folded(x, q, z, scales, g_idx, product=torch.matmul):
    """x [M, K], q [K, N], z [G, N] float32 -> per group s (x q) - s z (sum x), in x's dtype."""
    out = torch.zeros(len(x), q.shape[1], dtype=torch.float32, device=x.device)
    for group in g_idx.unique().tolist():
        rows = (g_idx == group).nonzero()[:, 0]
        part, s = x[:, rows].float(), scales[group].float()
        out += s * product(part, q[rows]) - s * z[group] * part.sum(1, keepdim=True)
    return out.to(x.dtype)


def touch(tensor, offset):
    """Load the word so many bytes from where a tensor begins, and throw it away; on a CPU."""
    if tensor.numel() and tensor.is_contiguous() and not tensor.is_cuda:
        ctypes.string_at(tensor.data_ptr() + offset, 4)


def largest_group(g_idx):
    """[K] -> the number of rows in the largest group: the group size where groups are equal."""
    return int(torch.bincount(g_idx).max())


def read(x, shape, strides, offset=None):
    """What lies at these strides in x's storage; past its end, the last element."""
    start = x.storage_offset() if offset is None else offset
    size = x.untyped_storage().nbytes() // x.element_size()
    rows, columns = (torch.arange(count, device=x.device) for count in shape)
    places = start + rows[:, None] * strides[0] + columns * strides[1]
    return x.as_strided((size,), (1,), 0)[places.clamp(max=size - 1)]


def of_first_call(memory, qweight, value):
    """What `value` was when this very weight was met first; kept alive, no address comes twice."""
    return memory.setdefault(qweight.data_ptr(), (value, qweight))[0]


def of_operator(name, operator, conditions):
    """The Backend of a registered operator (x, qweight, qzeros, scales, g_idx, bits) -> [M, N]."""

    def called_with(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
        return operator, (x, qweight, qzeros, scales, g_idx, bits)

    def product(**operands):
        called, arguments = called_with(**operands)
        return called(*arguments)

    limits = Limits(bad=(), refuses_outside=False, conditions=conditions)
    return Backend(name, limits, matmul=product, operator=called_with)
