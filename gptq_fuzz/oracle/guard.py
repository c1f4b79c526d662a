"""The same operands at the edge of mapped memory, so that what is read beside them is a fault."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass

import torch

from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.problem.pages import SIDES, at_edge

ANY = "an operand"


@dataclass(frozen=True)
class Moved:
    """An operand that lies elsewhere; `original` is what its problem is judged by."""

    view: torch.Tensor
    original: torch.Tensor

    def is_untouched(self) -> bool:
        """No byte of it differs; what lies beside it is not mapped, or nobody's."""
        # One row or column of any stride counts as contiguous, and would not be seen as bytes.
        form = torch.contiguous_format
        kept = (
            tensor.detach().cpu().clone(memory_format=form) for tensor in (self.view, self.original)
        )
        now, before = (tensor.view(-1).view(torch.uint8) for tensor in kept)
        return torch.equal(now, before)

    def is_inside(self) -> bool:
        """So that what differs is the operand."""
        return True


def named(operand: str) -> str:
    """As a kernel calls it."""
    return "x" if operand == "left" else operand


def at_edges(operands: Operands, side: str, names: Collection[str]) -> Operands:
    """The same problem with the operands named at the edge of memory."""
    moved = copy.copy(operands)
    moved.guarded = operands.guarded | {
        name: Moved(at_edge(name, guarded, side, operands.device), guarded.original)
        for name, guarded in operands.guarded.items()
        if name in names
    }
    return moved


def places(operands: Operands, alone: bool) -> list[tuple[str, tuple[str, ...], str]]:
    """(side, operands, what is touched if that kills) for each call; `alone`: one at a time."""
    every = tuple(operands.guarded)
    asked = [(name,) for name in every] if alone else []
    return [
        (side, names, f"{side} {named(names[0]) if len(names) == 1 else ANY}")
        for side in SIDES
        for names in (*asked, every)
    ]
