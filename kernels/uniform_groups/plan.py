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
SHARED_MEMORY, RESERVED = 227 * 1024, 1024  # bytes of a program of wgmma_kernel, and beside them
EPILOGUE = 136  # of these, for each of its columns, what it takes to write the output
READ = 4e12  # bytes / s
BYTES_OF_A_PART = 16  # read in the time that an element of a partial sum takes
BYTES_OF_AN_ORDERED = 8  # the same for an element of x whose columns are put in order first
MOST_SUMS = 32  # rows of x of which a program of wgmma_kernel has fewer sums than weights to scale
BYTES_OF_A_WEIGHT = 2  # that is written out, of 16 bits
MOST_WRITTEN = 2**27  # weights at a time: 256 MiB
MOST_TRANSPOSED = 2**28  # of a layer, all at a time
FEW, MANY, DENSE, WGMMA = "few", "many", "dense", "wgmma"


class Tile(NamedTuple):
    """A block of the output, who computes it, and how many such programs one SM takes at a time."""

    kind: str  # which kernel
    rows: int  # of x
    columns: int
    most_k: int  # rows of K in a step
    warps: int
    stages: int  # at most
    per_sm: int
    products: float = 0  # multiplications / s of a full GPU
    arranges: bool = False  # x is put in order before, for all programs that read it
    step: float = 0  # us that 128 rows of K of 4 bits take a program of wgmma_kernel
    two: float = 0  # that they take two such programs of one SM

    @property
    def name(self):
        """`few16`, `many128`, `dense128x256`, `wgmma64x128`"""
        wide = self.kind in (DENSE, WGMMA)
        return f"{self.kind}{self.rows}" + (f"x{self.columns}" if wide else "")

    @property
    def scaled(self):
        """Whether weights are scaled before they are multiplied, not the sums of a step after."""
        return self.kind not in (FEW, WGMMA) or self.rows > MOST_SUMS


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
# One warpgroup or two; a step has 128 rows of K, or 64 beside 256 rows of x.
WGMMA_TILES = (
    Tile(WGMMA, 16, 64, 128, 4, 8, 2, step=0.3, two=0.39),
    Tile(WGMMA, 16, 128, 128, 8, 8, 2, step=0.405, two=0.68),
    Tile(WGMMA, 32, 64, 128, 4, 8, 1, step=0.255),
    Tile(WGMMA, 32, 128, 128, 8, 8, 1, step=0.405),
    Tile(WGMMA, 64, 64, 128, 4, 8, 1, step=0.33),
    Tile(WGMMA, 64, 128, 128, 8, 8, 1, step=0.53),
    Tile(WGMMA, 128, 128, 128, 8, 8, 1, step=0.77),
    Tile(WGMMA, 256, 128, 64, 8, 8, 1, step=1.34),
)
MOST_WGMMA = 512  # rows of x from which on writing weights out may be better
TILES = {tile.name: tile for tile in (FEW_TILE, *MANY_TILES, *DENSE_TILES, *WGMMA_TILES)}


class Plan(NamedTuple):
    """How one product is computed."""

    tile: Tile
    block_k: int
    shares: int  # of K, summed apart

    def grid(self, M, N):
        """Programs: blocks of the output, shares of K."""
        tile = self.tile
        return triton.cdiv(M, tile.rows) * triton.cdiv(N, tile.columns), self.shares, 1


@functools.lru_cache(4096)
def plan(M, N, K, bits, rows_per_group, processors, ordered=False, tile=None, tma=False):
    """The Plan of a product [M, K] times [K, N] on a GPU of so many SMs.

    `ordered`: the rows of the weights are sorted by group, so x has to be too. `tile` forces a
    block. `tma`: wgmma_kernel takes the weights.
    """
    tiles = _tiles(M, tma and wgmma_takes(rows_per_group, bits)) if tile is None else (tile,)
    plans = [each for tile in tiles for each in _plans(tile, K, bits, rows_per_group)]
    return min(plans, key=lambda chosen: _cost(chosen, M, N, K, bits, ordered, processors))


def takes(rows_per_group, bits):
    """Whether steps of K, which lie in one group, can be whole units of four words of a column."""
    return rows_per_group % max(SMALLEST_BLOCK, WORDS_OF_A_UNIT * checks.WORD_BITS // bits) == 0


def wgmma_takes(rows_per_group, bits):
    """Whether a step of wgmma_kernel, pairs of units of a column, lies in one group."""
    return rows_per_group % max(64, _pair_of_units(bits)) == 0


def _pair_of_units(bits):
    """Rows of K, the least that wgmma_kernel takes in a step."""
    return 2 * WORDS_OF_A_UNIT * checks.WORD_BITS // bits


def wgmma_stages(tile, block_k, bits):
    """Steps of K that fit into the shared memory of a program."""
    words, zeros = block_k * bits // checks.WORD_BITS, max(128, tile.columns * bits // 8)
    step = tile.rows * block_k * 2 + tile.columns * (4 * words + 2) + zeros
    memory = (SHARED_MEMORY + RESERVED) // tile.per_sm - RESERVED
    return min(tile.stages, (memory - EPILOGUE * tile.columns) // step)


def transposed_plan(M, N, K, processors):
    """The Plan of a product [M, N] times [K, N] transposed, whose weights are written out."""
    plans = [Plan(tile, math.gcd(N, tile.most_k), 1) for tile in DENSE_TILES]
    return min(plans, key=lambda chosen: _cost(chosen, M, K, N, 0, False, processors))


def _plans(tile, K, bits, rows_per_group):
    if tile.kind == DENSE:
        return [Plan(tile, math.gcd(K, tile.most_k), 1)]
    block_k = math.gcd(rows_per_group, tile.most_k)
    if tile.kind == WGMMA:
        block_k = max(block_k, _pair_of_units(bits))
    most = min(MOST_SHARES, max(1, K // block_k // LEAST_BLOCKS))
    return [Plan(tile, block_k, shares) for shares in (1, 2, 4, 8) if shares <= most]


def _tiles(M, wgmma):
    """Those to choose from: the smallest that holds all rows, or the largest of each kernel."""
    if wgmma:
        return WGMMA_TILES + (DENSE_TILES if M > MOST_WGMMA else ())
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
    if tile.kind == WGMMA:
        each = triton.cdiv(programs, processors)
        return READ * 1e-6 * _microseconds(chosen, M, N, K, bits, ordered, each)
    at_once = processors * tile.per_sm
    idle = triton.cdiv(programs, at_once) * at_once / programs
    words = K * N * bits / 8
    products = K * N * down * tile.rows * READ / tile.products
    if dense:
        return words + BYTES_OF_A_WEIGHT * K * N + products * idle
    parts = BYTES_OF_A_PART * M * N * shares if shares > 1 else 0
    return (words + products) * idle + parts + BYTES_OF_AN_ORDERED * M * K * ordered


def _microseconds(chosen, M, N, K, bits, ordered, programs):
    """Of so many programs an SM; fitted to 45 sizes on an H200 (benchmarks/NOTES.md)."""
    tile, block_k, shares = chosen
    blocks = triton.cdiv(K // block_k, shares) * block_k / 128 * (1.1 if bits == 8 else 1)
    sorting = 1.4 + 1.25e-6 * M * K if ordered else 0
    parts = 1.2 + M * N * shares * 4e-6 if shares > 1 else 0
    twos, ones = divmod(programs, 2) if tile.per_sm == 2 else (0, programs)
    each = twos * (2.35 + blocks * tile.two) + ones * (2.35 + blocks * tile.step)
    return sorting + each + parts


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
