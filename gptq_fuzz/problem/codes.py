"""Kernels that pack codes in their own way: what they get, and words in any order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch

from gptq_fuzz.case.axes import FRACTIONS, WORD_BITS, codes_in_words
from gptq_fuzz.case.backend import Backend
from gptq_fuzz.reference.packing import pack_rows, unpack_rows, unpack_zeros

AWQ = (0, 2, 4, 6, 1, 3, 5, 7)  # the order of AWQ's words of 4 bits, which lie along N


def as_packed(backend: Backend) -> Backend:
    """A Backend for packed operands, whatever `backend.operands` says."""
    if backend.operands == "packed":
        if FRACTIONS in backend.limits.zeros:
            raise ValueError(f'zero-points {FRACTIONS} are for operands="codes"')
        return backend
    names = ("matmul", "prepare", "gradient", "operator")
    kept = {name: getattr(backend, name) for name in names}
    wrapped = {name: _unpacked(one) for name, one in kept.items() if one is not None}
    return dataclasses.replace(backend, operands="packed", **wrapped)


def _unpacked(function: Callable) -> Callable:
    def call(*, qweight, qzeros, bits, checkpoint_format, fractions=None, **others):
        codes = unpack_rows(qweight, bits).to(torch.uint8)
        zeros = unpack_zeros(qzeros, bits, checkpoint_format).to(torch.int32)
        zeros = zeros if fractions is None else (zeros + fractions.double()).to(fractions.dtype)
        return function(codes=codes, zeros=zeros, bits=bits, **others)

    return call


def repack(
    codes: torch.Tensor, bits: int, dim: int = 0, order: Sequence[int] | None = None
) -> torch.Tensor:
    """Codes [K, N] of any integer dtype -> int32 words along `dim`, [K * bits / 32, N] or
    [K, N * bits / 32].

    Without `order` the first code has the lowest bits, across words where `bits` is no divisor of
    32, as in GPTQ's checkpoints (3 bits: 32 codes in three words). `order` lists which of the codes
    of a word lies in its first, second, ... field: `AWQ` is that of AWQ's qweight and qzeros, with
    `dim=1`. Raises ValueError where the codes fill no whole words, or exceed `bits`.
    """
    if dim not in (0, 1):
        raise ValueError(f"dim must be 0 or 1, got {dim!r}")
    rows = codes if dim == 0 else codes.T
    if order is not None:
        word = codes_in_words(bits)
        if WORD_BITS % bits or sorted(order) != list(range(word)):
            raise ValueError(
                f"order must hold 0..{word - 1} once each for {bits} bits, got {order}"
            )
        if rows.shape[0] % word:
            raise ValueError(f"codes must fill whole words of {word}, got {rows.shape[0]}")
        places = torch.tensor(order, device=codes.device)
        rows = rows.unflatten(0, (-1, word))[:, places].flatten(0, 1)
    words = pack_rows(rows, bits)
    return words if dim == 0 else words.T.contiguous()
