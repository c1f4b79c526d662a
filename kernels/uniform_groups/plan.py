"""Which block, which shares: how a product with groups of one size is computed.

It follows from the sizes alone, so nothing is timed and a product is the same in every process.
What a block reads, multiplies and adds in a second was measured on Hopper (benchmarks/NOTES.md).
"""

import functools
import math
from typing import NamedTuple

import torch
import triton

from .. import checks

SMALLEST_BLOCK = 32  # rows of K in a step
WORDS_OF_A_UNIT = 4  # see kernels.py
MOST_SHARES = 8
LEAST_BLOCKS = 4  # of K in a share: less is not worth starting a program
READ = 4e12  # bytes / s
BYTES_OF_A_PART = 16  # read in the time that an element of a partial sum takes
BYTES_OF_AN_ORDERED = 8  # the same for an element of x whose columns are put in order first
BYTES_OF_A_WEIGHT = 2  # that is written out, of 16 bits
MOST_WRITTEN = 2**27  # weights at a time: 256 MiB
MOST_TRANSPOSED = 2**28  # of a layer, all at a time
FEW, MANY, DENSE = "few", "many", "dense"


class Tile(NamedTuple):
    """A block of the output, who computes it, and how many such programs one SM takes at a time."""

    kind: str  # which kernel
    rows: int  # of x
    columns: int
    most_k: int  # rows of K in a step
    warps: int
    stages: int
    per_sm: int
    products: float  # multiplications / s of a full GPU
    arranges: bool = False  # x is put in order before, for all programs that read it

    @property
    def name(self):
        """`few16`, `many128`, `dense128x256`"""
        return f"{self.kind}{self.rows}" + (f"x{self.columns}" if self.kind == DENSE else "")


FEW_TILE = Tile(FEW, 16, 128, 64, 4, 3, 4, 225e12)
MANY_TILES = (
    Tile(MANY, 32, 128, 128, 4, 3, 2, 225e12),
    Tile(MANY, 64, 128, 128, 8, 3, 1, 225e12, True),
    Tile(MANY, 128, 128, 128, 8, 3, 1, 215e12, True),
)
DENSE_TILES = (
    Tile(DENSE, 64, 128, 64, 4, 6, 1, 245e12),
    Tile(DENSE, 128, 128, 64, 8, 5, 1, 305e12),
    Tile(DENSE, 128, 256, 64, 8, 4, 1, 345e12),
)
TILES = {tile.name: tile for tile in (FEW_TILE, *MANY_TILES, *DENSE_TILES)}


class Plan(NamedTuple):
    """How one product is computed."""

    tile: Tile
    block_k: int
    shares: int  # of K, summed apart


@functools.lru_cache(4096)
def plan(M, N, K, bits, rows_per_group, processors, ordered=False, tile=None):
    """The Plan of a product [M, K] times [K, N] on a GPU of so many SMs.

    `ordered`: the rows of the weights are sorted by group, so x has to be too. `tile` forces a
    block.
    """
    tiles = _tiles(M) if tile is None else (tile,)
    plans = [each for tile in tiles for each in _plans(tile, K, rows_per_group)]
    return min(plans, key=lambda chosen: _cost(chosen, M, N, K, bits, ordered, processors))


def takes(rows_per_group, bits):
    """Whether steps of K, which lie in one group, can be whole units of four words of a column."""
    return rows_per_group % max(SMALLEST_BLOCK, WORDS_OF_A_UNIT * checks.WORD_BITS // bits) == 0


def transposed_plan(M, N, K, processors):
    """The Plan of a product [M, N] times [K, N] transposed, whose weights are written out."""
    plans = [Plan(tile, math.gcd(N, tile.most_k), 1) for tile in DENSE_TILES]
    return min(plans, key=lambda chosen: _cost(chosen, M, K, N, 0, False, processors))


def _plans(tile, K, rows_per_group):
    if tile.kind == DENSE:
        return [Plan(tile, math.gcd(K, tile.most_k), 1)]
    block_k = math.gcd(rows_per_group, tile.most_k)
    most = min(MOST_SHARES, max(1, K // block_k // LEAST_BLOCKS))
    return [Plan(tile, block_k, shares) for shares in (1, 2, 4, 8) if shares <= most]


def _tiles(M):
    """Those to choose from: the smallest that holds all rows, or the largest of each kernel."""
    if FEW_TILE.rows >= M:
        return (FEW_TILE,)
    most = MANY_TILES[-1:] + DENSE_TILES
    return next(((tile,) for tile in MANY_TILES if tile.rows >= M), most)


def _cost(chosen, M, N, K, bits, ordered, processors):
    """Bytes that could be read in the time that it takes."""
    tile, _, shares = chosen
    dense = tile.kind == DENSE
    down, across = triton.cdiv(M, tile.rows), panel(K, N) if dense else N
    programs = down * triton.cdiv(across, tile.columns) * shares
    at_once = processors * tile.per_sm
    idle = triton.cdiv(programs, at_once) * at_once / programs
    words = K * N * bits / 8
    products = K * N * down * tile.rows * READ / tile.products
    if dense:
        return words + BYTES_OF_A_WEIGHT * K * N + products * idle
    parts = BYTES_OF_A_PART * M * N * shares if shares > 1 else 0
    return (words + products) * idle + parts + BYTES_OF_AN_ORDERED * M * K * ordered


def panel(K, N):
    """Columns of weights [K, N] that are written out at a time: all, or blocks of equal number."""
    panels = triton.cdiv(K * N, MOST_WRITTEN)
    widest = DENSE_TILES[-1].columns
    return min(N, triton.cdiv(triton.cdiv(N, panels), widest) * widest)


@functools.cache
def processors(device):
    """SMs of a GPU; of the CPU that interprets, as many as an H200 has."""
    if device.type == "cpu":
        return 132
    return torch.cuda.get_device_properties(device).multi_processor_count
