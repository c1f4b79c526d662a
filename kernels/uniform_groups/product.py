"""Which weights the kernels for groups of one size take, and how a product is launched.

Blocks and shares are those of plan.py, measured on an H200; GPUs of other generations take the
general kernel until they have been.
"""

import functools
from typing import NamedTuple

import torch
import triton

from .. import checks
from ..custom_autotune import autotune
from ..triton_matmul import VECTOR
from .dense_kernels import dense_kernel, write_weights_kernel
from .kernels import (
    add_parts_kernel,
    arrange_rows_kernel,
    few_rows_kernel,
    many_rows_kernel,
    sort_columns_kernel,
)
from .plan import BITS, DENSE, FEW, MANY, TILES, panel
from .row_order import row_order, sorted_words

MEASURED = 9  # major compute capability
SMALLEST_BLOCK = 32  # rows of K; a block lies in one group
MOST_BLOCKS_IN_GROUP = 8  # that a binary of its own is worth
OFFSETS = {torch.float16: 0x64006400, torch.bfloat16: 0x43004300}  # 2**10 and 2**7, twice
ARRANGED = 256  # columns of x that a program arranges
WRITTEN = 256  # columns of weights that a program writes
LONGEST_SORTED = 2**15  # columns of x that shared memory holds and 16 bits number
ADDED = (256, 1024)  # elements that a program adds up, in few and in many
KERNELS = {FEW: few_rows_kernel, MANY: many_rows_kernel, DENSE: dense_kernel}


def _launcher(kernel, meta, **options):
    """The kernel with a short way to launch it: of one config there is nothing to tune."""
    return autotune([triton.Config(meta, **options)], [])(kernel)


_product = {
    tile: _launcher(
        KERNELS[tile.kind],
        {"BLOCK_SIZE_M": tile.rows, "BLOCK_SIZE_N": tile.columns}
        | ({"STAGES": tile.stages} if tile.kind == FEW else {}),
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    for tile in TILES.values()
}
_arrange = _launcher(arrange_rows_kernel, {"BLOCK": ARRANGED})
_sort_columns = _launcher(sort_columns_kernel, {}, num_warps=8)
_write_weights = _launcher(
    write_weights_kernel, {"BLOCK_SIZE_K": SMALLEST_BLOCK, "BLOCK_SIZE_N": WRITTEN}
)
_add_parts = {block: _launcher(add_parts_kernel, {"BLOCK": block}) for block in ADDED}


class UniformWeights(NamedTuple):
    """Weights [K, N] in a form that these kernels take; `order` as in RowOrder."""

    qweight: torch.Tensor
    scales: torch.Tensor
    qzeros: torch.Tensor
    rows_per_group: int
    order: torch.Tensor | None


def uniform_weights(x, qweight, scales, qzeros, g_idx, bits):
    """The weights as UniformWeights; None where they, x or the GPU want the general kernel."""
    if bits != BITS or not (_measured(x.device) and _fit(qweight, scales, qzeros)):
        return None
    found = row_order(g_idx, scales.shape[0])
    if found is None or found.rows_per_group % SMALLEST_BLOCK:
        return None
    if found.order is not None:
        qweight = sorted_words(qweight, g_idx, found.order)
        if qweight is None:
            return None
    return UniformWeights(qweight, scales, qzeros, *found)


def matmul(x, weights, out, chosen):
    """x [M, K] times W, into contiguous out [M, N]; both have elements."""
    product = _dense_product if chosen.tile.kind == DENSE else _fused_product
    product(x, weights, out, chosen)


def _fused_product(x, weights, out, chosen):
    """Weights are dequantised where they are multiplied; shares of K are added up after."""
    tile, block_k, shares = chosen
    few = tile.kind == FEW
    (M, K), N = x.shape, out.shape[1]
    if few or weights.order is not None or not _aligned(x):
        x = _arranged(x, weights.order, few)
    parts = out  # not written
    if shares > 1:
        parts = torch.empty((shares, M, N), dtype=torch.float32, device=x.device)
    grid = (triton.cdiv(M, tile.rows) * triton.cdiv(N, tile.columns), shares)
    strides = () if few else (x.stride(0),)
    packed = (weights.qweight, weights.scales, weights.qzeros)
    _product[tile].run(
        x, *packed, out, parts, M, N, K, weights.rows_per_group,
        *strides, *(tensor.stride(0) for tensor in packed), shares, block_k,
        _blocks_in_group(weights, block_k), N % tile.columns == 0, OFFSETS[x.dtype], grid=grid,
    )  # fmt: skip
    if shares > 1:
        block = ADDED[ADDED[0] ** 2 < M * N]
        _add_parts[block].run(parts, out, M * N, shares, grid=(triton.cdiv(M * N, block),))


def _dense_product(x, weights, out, chosen):
    """Weights are written out, a panel of columns at a time, and multiplied from there."""
    K, N = x.shape[1], out.shape[1]
    if not _aligned(x):
        x = _arranged(x, None)
    width = panel(K, N)
    written = torch.empty((K, width), dtype=x.dtype, device=x.device)
    for first in range(0, N, width):
        columns = slice(first, first + width)
        w = written[:, : N - first]
        _write(weights, columns, w)
        _multiply(x, w, out[:, columns], chosen)


def _write(weights, columns, w):
    """These columns of the weights [K, N] to w [K, columns]."""
    (K, N), order = w.shape, weights.order
    fields = checks.WORD_BITS // BITS
    qweight, scales = weights.qweight[:, columns], weights.scales[:, columns]
    qzeros = weights.qzeros[:, columns.start // fields :]
    strides = (tensor.stride(0) for tensor in (qweight, scales, qzeros, w))
    _write_weights.run(
        qweight, scales, qzeros, qweight if order is None else order, w,
        N, weights.rows_per_group, *strides,
        order is not None, _blocks_in_group(weights, SMALLEST_BLOCK), N % WRITTEN == 0,
        grid=(triton.cdiv(N, WRITTEN), K // SMALLEST_BLOCK),
    )  # fmt: skip


def _multiply(x, w, out, chosen):
    """x [M, K] times w [K, N], into out [M, N], whose rows may be apart."""
    tile, (M, K), N = chosen.tile, x.shape, out.shape[1]
    _product[tile].run(
        x, w, out, M, N, K, *(tensor.stride(0) for tensor in (x, w, out)),
        N % tile.columns == 0, chosen.block_k,
        grid=(triton.cdiv(M, tile.rows) * triton.cdiv(N, tile.columns),),
    )  # fmt: skip


def _blocks_in_group(weights, block_k):
    """As the kernels take it: 0 stands for many."""
    blocks = weights.rows_per_group // block_k
    return blocks if blocks <= MOST_BLOCKS_IN_GROUP else 0


def _arranged(x, order, interleave=False):
    """x [M, K] as the kernels read it."""
    M, K = x.shape
    arranged = torch.empty((M, K), dtype=x.dtype, device=x.device)
    if order is not None and not interleave and K <= LONGEST_SORTED:
        row = triton.next_power_of_2(K)
        _sort_columns.run(x, arranged, order, K, *x.stride(), row, grid=(M,))
        return arranged
    _arrange.run(
        x, arranged, arranged if order is None else order, K, *x.stride(),
        order is not None, interleave, grid=(M, triton.cdiv(K, ARRANGED)),
    )  # fmt: skip
    return arranged


@functools.cache
def _measured(device):
    if device.type != "cuda":
        return device.type == "cpu" and _arrange.interpreted
    return torch.cuda.get_device_capability(device)[0] == MEASURED


def _fit(qweight, scales, qzeros):
    """Whether rows of words and scales are whole vectors, as the kernels read them."""
    if qweight.shape[1] % VECTOR.value:
        return False
    unit = all(tensor.stride(1) == 1 for tensor in (qweight, scales, qzeros))
    return unit and all(tensor.stride(0) % VECTOR.value == 0 for tensor in (qweight, scales))


def _aligned(x):
    return x.stride(1) == 1 and x.stride(0) % VECTOR.value == 0
