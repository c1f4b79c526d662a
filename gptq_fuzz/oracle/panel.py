"""Large problems are judged at some columns, all rows of them: words that follow from the case
alone, and of the others those where a result is furthest from a plain product.

Operands are made whole. Of the bounds only these columns are computed, so that a layer of any size
costs little more than its operands.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import torch

from gptq_fuzz.case.case import Case
from gptq_fuzz.oracle.judge import Element, Expected, Mismatch
from gptq_fuzz.oracle.screen import Screen
from gptq_fuzz.problem.operands import Product
from gptq_fuzz.problem.philox import random_words

WHOLE = 2**21  # weights and results up to which all columns are judged
COLUMNS = 256  # of a panel
FURTHEST = 4  # words beside it
TILES = (64, 128, 256)
BYTES_PER_WEIGHT = 64  # of operands, float64 reference and intermediates, generously
# Behind a panel, where the reference is small: as measured of a worker, and a little more
BYTES_PER_CODE, BYTES_PER_SCALE, BYTES_PER_X, BYTES_PER_RESULT = 20, 160, 48, 40
# Of these fills and zero-points
MORE_PER_CODE = {"wide": 10, "zeq": 28, "zfour": 20, "znear": 28, "zdead": 28}


def bytes_needed(case: Case) -> int:
    """What operands and reference of a case may take."""
    if not is_large(case):
        return BYTES_PER_WEIGHT * (case.k + case.m) * case.n
    per_code = BYTES_PER_CODE + sum(
        more for word, more in MORE_PER_CODE.items() if word in (case.fill, case.zeros)
    )
    of_layer = (per_code * case.k + BYTES_PER_SCALE * case.groups) * case.n
    return of_layer + (BYTES_PER_X * case.k + BYTES_PER_RESULT * case.n) * case.m


def is_large(case: Case) -> bool:
    """Whether a panel stands for all columns."""
    return not case.backward and (case.k + case.m) * case.n > WHOLE and case.n > COLUMNS


def panel_words(case: Case) -> torch.Tensor:
    """[W] words of columns, in order: first and last, both sides of tile borders, and others."""
    words, wanted = case.n // case.unit, COLUMNS // case.unit
    drawn = random_words(case.seed, "cols", 1, 2 * wanted, "cpu")[1].flatten()
    borders = drawn[:wanted] % (case.n // max(TILES) + 1) * max(TILES) // case.unit
    last = [(case.n - 1) // side * side // case.unit for side in TILES]
    fixed = [0, words - 1, *(word - side for word in last for side in (0, 1))]
    others = torch.stack([borders, borders - 1, drawn[wanted:] % words]).T.flatten()
    chosen = dict.fromkeys(word for word in [*fixed, *others.tolist()] if 0 <= word < words)
    return torch.tensor(sorted(list(chosen)[:wanted]))


def columns_of(product: Product, columns: torch.Tensor) -> Product:
    """The same rows of x times these columns of the layer alone."""
    values = product.values
    wide = {name: getattr(values, name) for name in ("codes", "zeros", "scales", "fractions")}
    chosen = {name: part[:, columns] for name, part in wide.items() if part is not None}
    bias = None if values.bias is None else values.bias[columns]
    return replace(product, values=replace(values, **chosen, bias=bias))


class ExpectedPanel:
    """What a kernel must return in the columns of a panel: checks outputs as `Expected` does."""

    def __init__(self, case: Case, product: Product, layer: dict, make):
        """`layer` is what the reference takes, by keyword; `make(product, layer)` an Expected."""
        self._case, self._product, self._layer, self._make = case, product, layer, make
        self._panel = self._of(panel_words(case).tolist())
        self._screen = Screen(product, case.unit)
        self._last: tuple[list[int], Columns] | None = None  # words, beside the panel

    def _of(self, words: list[int]) -> Columns:
        case, layer = self._case, self._layer
        chosen = torch.tensor(words, device=self._product.values.codes.device)
        fields = torch.arange(case.unit, device=chosen.device)
        columns = (chosen[:, None] * case.unit + fields).flatten()
        wide = [name for name in ("qweight", "scales", "fractions") if name in layer]
        part = {name: layer[name][:, columns] for name in wide}
        zeros = layer["qzeros"].unflatten(1, (-1, case.unit_words))
        part["qzeros"] = zeros[:, chosen].flatten(1)
        return Columns(columns, self._make(columns_of(self._product, columns), layer | part))

    def check(self, out: torch.Tensor, rows=slice(None), columns=slice(None)) -> Mismatch:
        """Judge `out`, which must equal the chosen rows and columns of the answer."""
        first, unit = columns.start or 0, self._case.unit
        known = set((self._panel.columns[::unit] // unit).tolist())
        words = self._screen.furthest(out, rows, first, FURTHEST + len(known))
        others = [word for word in words if word not in known][:FURTHEST]
        parts = [self._panel, *([self._beside(others)] if others else [])]
        found = [part.check(out, rows, columns) for part in parts]
        judged = sum(len(part.columns) for part in parts)
        wrong = functools.reduce(torch.logical_or, (one.wrong for one in found))

        def find_worst(chosen: torch.Tensor) -> Element:
            met = [one.find_worst(chosen) for one in found if (one.wrong & chosen).any()]
            return max(met or [found[0].find_worst(chosen)], key=lambda element: element.ratio)

        note = f" (of {self._case.n} columns {judged} were judged)"
        return Mismatch(wrong, out, find_worst, note)

    def _beside(self, words: list[int]) -> Columns:
        if self._last is None or self._last[0] != words:
            self._last = words, self._of(words)
        return self._last[1]

    def used(self, out: torch.Tensor) -> float:
        """Largest share of the bounds that an error took, in the panel."""
        return self._panel.expected.used(out[:, self._panel.columns.to(out.device)])


@dataclass(frozen=True)
class Columns:
    """Some `columns` of a problem, and what is `expected` there."""

    columns: torch.Tensor
    expected: Expected

    def check(self, out: torch.Tensor, rows: slice, columns: slice) -> Mismatch:
        """Judge `out`, rows and columns of the answer, in those that are of these."""
        first, end = columns.start or 0, columns.stop
        inside = self.columns >= first
        inside = inside if end is None else inside & (self.columns < end)
        places = self.columns[inside] - first
        found = self.expected.check(out[:, places.to(out.device)], rows, inside)
        wrong = torch.zeros(out.shape, dtype=torch.bool, device=places.device)
        wrong[:, places] = found.wrong

        def find_worst(chosen: torch.Tensor) -> Element:
            worst = found.find_worst(chosen[:, places])
            return worst._replace(column=int(places[worst.column]))

        return Mismatch(wrong, out, find_worst)
