"""Which weights the kernels for groups of one size take, and how a product is launched.

Blocks and shares are those of plan.py, measured on Hopper; GPUs of other generations take the
general kernel until they have been.
"""

import functools

import torch
import triton

from ..custom_autotune import autotune
from ..triton_matmul import VECTOR
from . import wgmma
from .arrivals import arrivals
from .dense_kernels import dense_kernel, write_weights_kernel
from .kernels import (
    arrange_rows_kernel,
    fused_kernel,
    interleave_rows_kernel,
    sort_columns_kernel,
)
from .plan import (
    DENSE,
    DENSE_TILES,
    FEW,
    FEW_TILE,
    MANY_TILES,
    SMALLEST_BLOCK,
    WGMMA,
    panel,
    processors,
    takes,
    transposed_plan,
    wgmma_takes,
)
from .row_order import row_order, sorted_words
from .weights import UniformWeights

MEASURED = 9  # major compute capability
MOST_BLOCKS_IN_GROUP = 8  # that a binary of its own is worth
ARRANGED = 256  # columns of x that a program puts in any order
INTERLEAVED = 2, 512  # rows and columns of x that a program takes unit by unit
WRITTEN = 256  # columns of weights that a program writes
LONGEST_SORTED = 2**15  # columns of x that shared memory holds and 16 bits number


def _launcher(kernel, meta, **options):
    """The kernel with a short way to launch it: of one config there is nothing to tune."""
    return autotune([triton.Config(meta, **options)], [])(kernel)


def _launchers(kernel, tiles, constants):
    """Tile -> launcher"""
    return {
        tile: _launcher(
            kernel,
            {"BLOCK_SIZE_M": tile.rows, "BLOCK_SIZE_N": tile.columns, **constants(tile)},
            num_warps=tile.warps, num_stages=tile.stages,
        )
        for tile in tiles
    }  # fmt: skip


fused = _launchers(
    fused_kernel, (FEW_TILE, *MANY_TILES),
    lambda tile: {"SCALED": tile.scaled, "STAGES": tile.stages},
)  # fmt: skip
_dense = _launchers(dense_kernel, DENSE_TILES, lambda tile: {})
arrange = _launcher(arrange_rows_kernel, {"BLOCK": ARRANGED})
interleave = _launcher(
    interleave_rows_kernel, dict(zip(("BLOCK_SIZE_M", "BLOCK_SIZE_K"), INTERLEAVED, strict=True))
)
_sort_columns = _launcher(sort_columns_kernel, {}, num_warps=16)
_write_weights = _launcher(
    write_weights_kernel, {"BLOCK_SIZE_K": SMALLEST_BLOCK, "BLOCK_SIZE_N": WRITTEN}
)


def uniform_weights(x, qweight, scales, qzeros, g_idx, bits):
    """The weights as UniformWeights; None where they, x or the GPU want the general kernel."""
    if not (_measured(x.device) and _fit(qweight, scales, qzeros)):
        return None
    found = row_order(g_idx, scales.shape[0])
    if found is None or not takes(found.rows_per_group, bits):
        return None
    if found.order is not None:
        qweight = sorted_words(qweight, g_idx, found.order, bits)
        if qweight is None:
            return None
    tma = wgmma.takes(x, qweight, scales, qzeros)
    return UniformWeights(qweight, scales, qzeros, bits, *found, tma)


def serves(tile, weights):
    """Whether a plan with this tile can multiply with these weights."""
    fit = weights.tma and wgmma_takes(weights.rows_per_group, weights.bits)
    return fit or tile.kind != WGMMA


def matmul(x, weights, out, chosen):
    """x [M, K] times W, into contiguous out [M, N]; both have elements."""
    products = {DENSE: _dense_product, WGMMA: _wgmma_product}
    products.get(chosen.tile.kind, _fused_product)(x, weights, out, chosen)


def _fused_product(x, weights, out, chosen):
    """Weights are dequantised where they are multiplied."""
    M, N = out.shape
    arranged = chosen.tile.arranges or weights.order is not None or not _aligned(x)
    if arranged:
        x = _arranged(x, weights.order, weights.fields, chosen.tile.kind != FEW)
    grid, parts, arrived = chosen.grid(M, N), out, out  # the latter not touched
    if chosen.shares > 1:
        parts = torch.empty((chosen.shares, M, N), dtype=torch.float32, device=x.device)
        arrived = arrivals(x.device, grid[0])
    arguments = fused_arguments(x, weights, out, parts, arrived, chosen, arranged)
    fused[chosen.tile].run(*arguments, grid=grid)


def _wgmma_product(x, weights, out, chosen):
    """The same, by warpgroups of Hopper."""
    (M, N), parts, arrived = out.shape, out, out
    copied = weights.order is not None or not wgmma.reads(x)
    if copied:
        x = _arranged(x, weights.order, sort=FEW_TILE.rows < M)
    if chosen.shares > 1:
        parts = torch.empty((chosen.shares, M, N), dtype=torch.float32, device=x.device)
        arrived = arrivals(x.device, wgmma.counters(M, N, chosen))
    wgmma.launch(weights, x, out, parts, arrived, chosen, copied)


def fused_arguments(x, weights, out, parts, arrived, chosen, arranged):
    """Of fused_kernel, but for what its config adds."""
    tile, block_k, shares = chosen
    (M, K), N = x.shape, out.shape[1]
    strides = (tensor.stride(0) for tensor in (x, *weights.packed))
    return (
        x, *weights.packed, out, parts, arrived, M, N, K, weights.rows_per_group, *strides,
        weights.bits, shares, block_k, _blocks_in_group(weights, block_k), N % tile.columns == 0,
        arranged,
    )  # fmt: skip


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
    qweight, scales = weights.qweight[:, columns], weights.scales[:, columns]
    qzeros = weights.qzeros[:, columns.start // weights.fields :]
    strides = (tensor.stride(0) for tensor in (qweight, scales, qzeros, w))
    _write_weights.run(
        qweight, scales, qzeros, qweight if order is None else order, w,
        N, weights.rows_per_group, *strides, weights.bits,
        order is not None, _blocks_in_group(weights, SMALLEST_BLOCK), N % WRITTEN == 0,
        grid=(triton.cdiv(N, WRITTEN), K // SMALLEST_BLOCK),
    )  # fmt: skip


def transposed_matmul(x, weights, out):
    """x [M, N] times W transposed, into contiguous out [M, K]; both have elements.

    All of W is written out, however few rows x has: it is the gradient of a layer in training.
    """
    (M, N), K = x.shape, out.shape[1]
    written = torch.empty((K, N), dtype=x.dtype, device=x.device)
    _write(weights, slice(0, N), written)
    chosen = transposed_plan(M, N, K, processors(x.device))
    _multiply(x if _aligned(x) else _arranged(x, None), written, out, chosen, transposed=True)


def _multiply(x, w, out, chosen, transposed=False):
    """x [M, K] times w [K, N], or [N, K] transposed, into out [M, N], whose rows may be apart."""
    tile, (M, K), N = chosen.tile, x.shape, out.shape[1]
    _dense[tile].run(
        x, w, out, M, N, K, *(tensor.stride(0) for tensor in (x, w, out)),
        transposed, N % tile.columns == 0, chosen.block_k,
        grid=(triton.cdiv(M, tile.rows) * triton.cdiv(N, tile.columns),),
    )  # fmt: skip


def _blocks_in_group(weights, block_k):
    """As the kernels take it: 0 stands for many."""
    blocks = weights.rows_per_group // block_k
    return blocks if blocks <= MOST_BLOCKS_IN_GROUP else 0


def _arranged(x, order, fields=0, sort=True):
    """x [M, K] as kernels read it: the fused, with words of so many fields, or the dense."""
    M, K = x.shape
    arranged = torch.empty((M, K), dtype=x.dtype, device=x.device)
    if order is not None and sort and K <= LONGEST_SORTED:
        row = triton.next_power_of_2(K)
        _sort_columns.run(x, arranged, order, K, *x.stride(), fields, row, grid=(M,))
    else:
        launcher, arguments, grid = arranging(x, arranged, order, fields)
        launcher.run(*arguments, grid=grid)
    return arranged


def arranging(x, arranged, order, fields):
    """(launcher, its arguments, grid) of the kernel that takes x as it lies, piece by piece.

    The first three arguments are tensors if there is an order, else the first two.
    """
    M, K = x.shape
    if order is None and fields and _aligned(x):
        rows, columns = INTERLEAVED
        grid = (triton.cdiv(M, rows), triton.cdiv(K, columns), 1)
        return interleave, (x, arranged, M, K, x.stride(0), fields), grid
    given = arranged if order is None else order  # not read
    arguments = x, arranged, given, K, *x.stride(), order is not None, fields
    return arrange, arguments, (M, triton.cdiv(K, ARRANGED), 1)


@functools.cache
def _measured(device):
    if device.type != "cuda":
        return device.type == "cpu" and arrange.interpreted
    return torch.cuda.get_device_capability(device)[0] == MEASURED


def _fit(qweight, scales, qzeros):
    """Whether rows of words and scales are whole vectors, as the kernels read them."""
    if qweight.shape[1] % VECTOR.value:
        return False
    unit = all(tensor.stride(1) == 1 for tensor in (qweight, scales, qzeros))
    return unit and all(tensor.stride(0) % VECTOR.value == 0 for tensor in (qweight, scales))


def _aligned(x):
    return x.stride(1) == 1 and x.stride(0) % VECTOR.value == 0
