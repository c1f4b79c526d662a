"""Products with 4-bit weights whose groups have one size: which kernel, which shares, launched.

Blocks and shares follow from the sizes alone, so nothing is timed and a product is the same in
every process. They were measured on an H200 (benchmarks/NOTES.md); other GPUs take the general
kernel until they have been.
"""

import functools
import math
from typing import NamedTuple

import torch
import triton

from .custom_autotune import autotune
from .grouped_kernels import (
    add_parts_kernel,
    arrange_rows_kernel,
    few_rows_kernel,
    many_rows_kernel,
    sort_columns_kernel,
)
from .row_order import row_order, sorted_words
from .triton_matmul import VECTOR

BITS = 4
MEASURED = 9  # major compute capability
LARGEST_BLOCK = 128  # rows of K; a block lies in one group
SMALLEST_BLOCK = 32
MOST_SHARES = 8
LEAST_BLOCKS = 4  # of K in a share: less is not worth starting a program
READ = 4e12  # bytes / s
BYTES_OF_A_PART = 16  # read in the time that an element of a partial sum takes
MOST_BLOCKS_IN_GROUP = 8  # that a binary of its own is worth
OFFSETS = {torch.float16: 0x64006400, torch.bfloat16: 0x43004300}  # 2**10 and 2**7, twice
ARRANGED = 256  # columns of x that a program arranges
LONGEST_SORTED = 2**15  # columns of x that shared memory holds and 16 bits number
ADDED = (256, 1024)  # elements that a program adds up, in few and in many


class Tile(NamedTuple):
    """A block of the output, who computes it, and how many such programs one SM takes at a time."""

    few: bool
    rows: int  # of x
    columns: int
    most_k: int  # rows of K in a step
    warps: int
    stages: int
    per_sm: int
    products: float  # multiplications / s of a full GPU

    @property
    def name(self):
        """`few16`, `many128`"""
        return f"{'few' if self.few else 'many'}{self.rows}"


FEW = Tile(True, 16, 128, 128, 4, 3, 3, 225e12)
MANY = (
    Tile(False, 16, 128, 128, 8, 3, 2, 225e12),
    Tile(False, 32, 128, 128, 8, 3, 2, 225e12),
    Tile(False, 64, 128, 128, 8, 3, 2, 225e12),
    Tile(False, 128, 128, 128, 8, 3, 1, 190e12),
    Tile(False, 256, 128, 64, 8, 4, 1, 255e12),
)
TILES = {tile.name: tile for tile in (FEW, *MANY)}


def _launcher(kernel, meta, **options):
    """The kernel with a short way to launch it: of one config there is nothing to tune."""
    return autotune([triton.Config(meta, **options)], [])(kernel)


_product = {
    tile: _launcher(
        few_rows_kernel if tile.few else many_rows_kernel,
        {"BLOCK_SIZE_M": tile.rows, "BLOCK_SIZE_N": tile.columns}
        | ({"STAGES": tile.stages} if tile.few else {}),
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    for tile in TILES.values()
}
_arrange = _launcher(arrange_rows_kernel, {"BLOCK": ARRANGED})
_sort_columns = _launcher(sort_columns_kernel, {}, num_warps=8)
_add_parts = {block: _launcher(add_parts_kernel, {"BLOCK": block}) for block in ADDED}


class Plan(NamedTuple):
    """How one product is computed."""

    tile: Tile
    block_k: int
    shares: int  # of K, summed apart


class Grouped(NamedTuple):
    """Weights [K, N] in a form that these kernels take; `order` as in RowOrder."""

    qweight: torch.Tensor
    scales: torch.Tensor
    qzeros: torch.Tensor
    rows_per_group: int
    order: torch.Tensor | None


def grouped(x, qweight, scales, qzeros, g_idx, bits):
    """The weights as Grouped; None where they, x or the GPU want the general kernel."""
    if bits != BITS or not (_measured(x.device) and _fit(qweight, scales, qzeros)):
        return None
    found = row_order(g_idx, scales.shape[0])
    if found is None or found.rows_per_group % SMALLEST_BLOCK:
        return None
    if found.order is not None:
        qweight = sorted_words(qweight, g_idx, found.order)
        if qweight is None:
            return None
    return Grouped(qweight, scales, qzeros, *found)


@functools.lru_cache(4096)
def plan(M, N, K, rows_per_group, dtype, processors, tile=None):
    """The Plan of a product [M, K] times [K, N] on a GPU of so many SMs; `tile` forces a block."""
    served = tile is not None and (dtype == torch.float16 or not tile.few)
    tiles = (tile,) if served else _tiles(M, dtype)
    plans = []
    for each in tiles:
        block_k = math.gcd(rows_per_group, each.most_k)
        most = min(MOST_SHARES, max(1, K // block_k // LEAST_BLOCKS))
        plans += [Plan(each, block_k, shares) for shares in (1, 2, 4, 8) if shares <= most]
    return min(plans, key=lambda chosen: _cost(chosen, M, N, K, processors))


def _cost(chosen, M, N, K, processors):
    """Bytes that could be read in the time that it takes: words read, products, partial sums."""
    tile, _, shares = chosen
    down = triton.cdiv(M, tile.rows)
    programs = down * triton.cdiv(N, tile.columns) * shares
    at_once = processors * tile.per_sm
    idle = triton.cdiv(programs, at_once) * at_once / programs
    work = K * N * (BITS / 8 + down * tile.rows * READ / tile.products)
    return work * idle + (BYTES_OF_A_PART * M * N * shares if shares > 1 else 0)


def matmul(x, weights, out, chosen):
    """x [M, K] times W, into contiguous out [M, N]; both have elements."""
    tile, block_k, shares = chosen
    (M, K), N = x.shape, out.shape[1]
    sums = x  # not read
    if tile.few or weights.order is not None or not _aligned(x):
        x, sums = _arranged(x, weights.order, tile.few, block_k)
    parts = out  # not written
    if shares > 1:
        parts = torch.empty((shares, M, N), dtype=torch.float32, device=x.device)
    grid = (triton.cdiv(M, tile.rows) * triton.cdiv(N, tile.columns), shares)
    before = (x, sums) if tile.few else (x,)
    strides = () if tile.few else (x.stride(0),)
    offset = () if tile.few else (OFFSETS[x.dtype],)
    packed = (weights.qweight, weights.scales, weights.qzeros)
    in_group = weights.rows_per_group // block_k
    _product[tile].run(
        *before, *packed, out, parts, M, N, K, weights.rows_per_group,
        *strides, *(tensor.stride(0) for tensor in packed), shares, block_k,
        in_group if in_group <= MOST_BLOCKS_IN_GROUP else 0, N % tile.columns == 0,
        *offset, grid=grid,
    )  # fmt: skip
    if shares > 1:
        block = ADDED[ADDED[0] ** 2 < M * N]
        _add_parts[block].run(parts, out, M * N, shares, grid=(triton.cdiv(M * N, block),))


def _arranged(x, order, interleave, block_k):
    M, K = x.shape
    made = torch.empty((M, K), dtype=x.dtype, device=x.device)
    sums = made
    if interleave:
        sums = torch.empty((K // block_k, M), dtype=torch.float32, device=x.device)
    if order is not None and not interleave and K <= LONGEST_SORTED:
        row = triton.next_power_of_2(K)
        _sort_columns.run(x, made, order, K, *x.stride(), row, grid=(M,))
        return made, sums
    _arrange.run(
        x, made, sums, made if order is None else order, K, *x.stride(),
        order is not None, interleave, block_k, grid=(M, triton.cdiv(K, ARRANGED)),
    )  # fmt: skip
    return made, sums


def _tiles(M, dtype):
    """Those to choose from: the smallest that holds all rows, or the two largest."""
    if dtype == torch.float16 and FEW.rows >= M:
        return (FEW,)
    return next(((tile,) for tile in MANY[:-1] if tile.rows >= M), MANY[-2:])


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


@functools.cache
def processors(device):
    """SMs of a GPU; of the CPU that interprets, as many as an H200 has."""
    if device.type == "cpu":
        return 132
    return torch.cuda.get_device_properties(device).multi_processor_count
