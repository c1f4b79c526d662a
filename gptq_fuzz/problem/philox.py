"""Counter-based random bits: the same on every machine, device and version of torch.

Philox-2x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3"
(SC 2011). A word depends on (seed, tensor, row, column) alone, so cutting a tensor keeps the rest.
"""

from __future__ import annotations

import torch

MULTIPLIER = 0xD256D193
WEYL = 0x9E3779B9
ROUNDS = 10
MASK32 = 0xFFFFFFFF
SMALL = 2**14  # elements
BLOCK = 2**15  # elements that a CPU draws at a time, so that all ten rounds stay in its caches
# A tensor's number goes into its key: never renumber, old lines would change their data.
TENSORS = {"codes": 1, "zeros": 2, "scales": 3, "x": 4, "bias": 5, "g_idx": 6, "rows": 7, "cols": 8}


def philox2x32(first, second, key: int):
    """Two 32-bit counters, a 32-bit key -> two 32-bit words; int64 tensors or ints, 0..2^32-1."""
    for _ in range(ROUNDS):
        # int64 products wrap modulo 2^64, which leaves all 64 bits of the unsigned product.
        product = first * MULTIPLIER
        mixed = product >> 32
        mixed &= MASK32
        mixed ^= second
        mixed ^= key
        product &= MASK32
        first, second = mixed, product
        key = (key + WEYL) & MASK32
    return first, second


def random_words(
    seed: int, tensor: str, rows: int, columns: int, device
) -> tuple[torch.Tensor, ...]:
    """Two independent [rows, columns] int64 tensors of 32 random bits each."""
    key = _key(seed, tensor)
    # Small tensors are drawn on the CPU, the bits are the same: 60 launches would cost a GPU more.
    place = "cpu" if rows * columns <= SMALL else device
    row = torch.arange(rows, dtype=torch.int64, device=place).unsqueeze(1)
    column = torch.arange(columns, dtype=torch.int64, device=place).unsqueeze(0)
    together = max(BLOCK // max(columns, 1), 1) if torch.device(place).type == "cpu" else rows
    if rows <= together:
        first, second = philox2x32(column + 0 * row, row + 0 * column, key)
        return first.to(device), second.to(device)
    first, second = (torch.empty(rows, columns, dtype=torch.int64) for _ in range(2))
    for some, words in _in_blocks(key, row, column, together):
        first[some], second[some] = words
    return first, second


def first_words(seed: int, tensor: str, rows: int, columns: int, device) -> torch.Tensor:
    """The first of `random_words` alone, in half the memory."""
    place = torch.device(device)
    if place.type != "cpu" or rows * columns <= SMALL:
        return random_words(seed, tensor, rows, columns, device)[0]
    key = _key(seed, tensor)
    row = torch.arange(rows, dtype=torch.int64).unsqueeze(1)
    column = torch.arange(columns, dtype=torch.int64).unsqueeze(0)
    first = torch.empty(rows, columns, dtype=torch.int64)
    for some, words in _in_blocks(key, row, column, max(BLOCK // max(columns, 1), 1)):
        first[some] = words[0]
    return first


def _key(seed: int, tensor: str) -> int:
    low, high = philox2x32(seed & MASK32, (seed >> 32) & MASK32, TENSORS[tensor])
    return low ^ high


def _in_blocks(key: int, row: torch.Tensor, column: torch.Tensor, together: int):
    """(rows, their two words), so many rows at a time."""
    for start in range(0, len(row), together):
        some = slice(start, start + together)
        yield some, philox2x32(column + 0 * row[some], row[some] + 0 * column, key)
