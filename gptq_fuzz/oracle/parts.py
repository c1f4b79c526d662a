"""The intervals of a given problem, part by part, so that a layer of any size fits in memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gptq_fuzz.case.backend import Numerics
from gptq_fuzz.oracle.judge import (
    Element,
    Expected,
    Mismatch,
    fewest_wrong,
    machine_capability,
    note_of,
)
from gptq_fuzz.problem.given import Problem

PART = 2**26  # bytes that one part may take: few enough for a cache, enough for a GPU
PER_WEIGHT, PER_X, PER_OUT = 128, 32, 256  # bytes: float64 values and what is computed with them
ANY_GPU = 1  # a capability that no table knows: the fewest bits that a tensor core keeps


class ExpectedParts:
    """What a kernel must return for a Problem: checks outputs as `Expected` does.

    `place` is the device that computes. The bounds are of the worst case; since tensors may have
    been copied from a GPU, they allow for tensor cores on a CPU too.
    """

    def __init__(self, problem: Problem, numerics: Numerics, place: str):
        self.problem, self.numerics, self.place = problem, numerics, place
        self.capability = machine_capability(place) or ANY_GPU
        self.x = problem.x.detach().reshape(-1, problem.k)

    def check(self, out: torch.Tensor) -> Mismatch:
        """Judge `out` [M, N], all of the answer."""
        masks: list[torch.Tensor] = []
        for rows, columns, expected in self._parts():
            part = expected.wrong_by_way(out[rows, columns].to(self.place).double())
            masks = masks or [
                torch.zeros(out.shape, dtype=torch.bool, device=self.place) for _ in part
            ]
            for mask, wrong in zip(masks, part, strict=True):
                mask[rows, columns] = wrong
        if not masks:  # no rows
            masks = [torch.zeros(out.shape, dtype=torch.bool, device=self.place)]
        way = fewest_wrong(masks)
        return Mismatch(
            masks[way], out, lambda chosen: self._worst(out, chosen, way), note_of(masks)
        )

    def used(self, _out: torch.Tensor) -> float:
        """No share of the bounds: errors of real data are far from the worst case."""
        return 0.0

    def _worst(self, out: torch.Tensor, chosen: torch.Tensor, way: int) -> Element:
        found = []
        for rows, columns, expected in self._parts(chosen):
            part = out[rows, columns].to(self.place).double()
            worst = expected.worst(chosen[rows, columns], part, way)
            row, column = worst.row + rows.start, worst.column + columns.start
            found.append(worst._replace(row=row, column=column))
        return max(found, key=lambda element: element.ratio)

    def _parts(self, chosen: torch.Tensor | None = None) -> Iterator[tuple[slice, slice, Expected]]:
        """Rows, columns and their intervals; with a mask, where it holds anything."""
        problem, height, width = self.problem, *self._size()
        for columns in _slices(problem.n, width):
            if chosen is not None and not chosen[:, columns].any():
                continue
            numbers, weight = problem.columns(columns, self.place)
            for rows in _slices(len(self.x), height):
                if chosen is None or chosen[rows, columns].any():
                    product = problem.product(self.x[rows].to(self.place).double(), numbers)
                    yield rows, columns, Expected(product, weight, self.numerics, self.capability)

    def _size(self) -> tuple[int, int]:
        """Rows and columns of a part; columns in whole words."""
        k, word = self.problem.k, self.problem.unit
        height = max(1, min(len(self.x), PART // (PER_X * k)))
        width = PART // (PER_WEIGHT * k + PER_OUT * height)
        return height, max(word, width // word * word)


def _slices(size: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, size)) for start in range(0, size, step))
