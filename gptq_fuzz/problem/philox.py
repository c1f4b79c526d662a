"""Counter-based random bits: the same on every machine, device and version of torch.

Philox-2x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3"
(SC 2011). A word depends on (seed, tensor, row, column) alone, so cutting a tensor keeps the rest.
"""

from __future__ import annotations

import functools

import torch

MULTIPLIER = 0xD256D193
WEYL = 0x9E3779B9
ROUNDS = 10
MASK32 = 0xFFFFFFFF
SMALL = 2**14  # elements
KEPT = 2**12  # elements of what is kept
BLOCK = 2**15  # elements that a CPU draws at a time, so that all ten rounds stay in its caches
# A tensor's number goes into its key: never renumber, old lines would change their data.
TENSORS = {"codes": 1, "zeros": 2, "scales": 3, "x": 4, "bias": 5, "g_idx": 6, "rows": 7, "cols": 8}


def philox2x32(first, second, key: int):
    """Two 32-bit counters, a 32-bit key -> two 32-bit words; int64 tensors, arrays or ints."""
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
    if rows * columns <= KEPT:
        first, second = _kept(key, rows, columns)
        return first.to(device, copy=True), second.to(device, copy=True)
    # Small tensors are drawn on the CPU, the bits are the same: 60 launches would cost a GPU more.
    if _is_drawn_on_cpu(rows * columns, device):
        found = torch.zeros(2, rows, columns, dtype=torch.int64, device="cpu")
        _draw(key, rows, columns, *found)
        return tuple(found.to(device))
    row = torch.arange(rows, dtype=torch.int64, device=device).unsqueeze(1)
    column = torch.arange(columns, dtype=torch.int64, device=device).unsqueeze(0)
    return philox2x32(column + 0 * row, row + 0 * column, key)


def first_words(seed: int, tensor: str, rows: int, columns: int, device) -> torch.Tensor:
    """The first of `random_words` alone, in half the memory."""
    if rows * columns <= KEPT or not _is_drawn_on_cpu(rows * columns, device):
        return random_words(seed, tensor, rows, columns, device)[0]
    first = torch.zeros(rows, columns, dtype=torch.int64, device="cpu")
    _draw(_key(seed, tensor), rows, columns, first)
    return first.to(device)


def _key(seed: int, tensor: str) -> int:
    low, high = philox2x32(seed & MASK32, (seed >> 32) & MASK32, TENSORS[tensor])
    return low ^ high


def _is_drawn_on_cpu(elements: int, device) -> bool:
    return elements <= SMALL or torch.device(device).type == "cpu"


@functools.lru_cache(32)
def _kept(key: int, rows: int, columns: int) -> torch.Tensor:
    """[2, rows, columns]: both words of a small tensor. In a series most come again."""
    found = torch.zeros(2, rows, columns, dtype=torch.int64, device="cpu")
    _draw(key, rows, columns, *found)
    return found


def _draw(key: int, rows: int, columns: int, *found: torch.Tensor) -> None:
    """Fill the first word, or both, so many rows at a time."""
    row = torch.arange(rows, dtype=torch.int64, device="cpu").unsqueeze(1)
    column = torch.arange(columns, dtype=torch.int64, device="cpu").unsqueeze(0)
    if _has_numpy():  # whose small operations take a third of torch's time
        row, column, found = row.numpy(), column.numpy(), tuple(words.numpy() for words in found)
    together = max(BLOCK // max(columns, 1), 1)
    for start in range(0, rows, together):
        some = slice(start, start + together)
        drawn = philox2x32(column + 0 * row[some], row[some] + 0 * column, key)
        for words, values in zip(found, drawn, strict=False):
            words[some] = values


@functools.cache
def _has_numpy() -> bool:
    """Whether this torch can hand tensors to it; an engine's own interpreter may lack it."""
    try:
        torch.zeros(1, device="cpu").numpy()
    except RuntimeError:
        return False
    return True
