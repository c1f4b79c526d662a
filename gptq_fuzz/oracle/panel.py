"""Large problems are judged at some columns, all rows of them: which, follows from the case alone.

Operands are made whole. Of the reference only these columns are computed, so that a layer of any
size costs little more than its operands.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from gptq_fuzz.case.case import Case
from gptq_fuzz.oracle.judge import Element, Expected, Mismatch
from gptq_fuzz.problem.operands import Product
from gptq_fuzz.problem.philox import random_words

WHOLE = 2**21  # weights and results up to which all columns are judged
COLUMNS = 256  # of a panel
TILES = (64, 128, 256)
BYTES_PER_WEIGHT = 64  # of operands, float64 reference and intermediates, generously
# Behind a panel, where the reference is small: as measured of a worker, and a little more
BYTES_PER_CODE, BYTES_PER_SCALE, BYTES_PER_X, BYTES_PER_RESULT = 20, 160, 48, 16
MORE_PER_CODE = {"wide": 10, "zeq": 28, "zfour": 20, "znear": 28}  # of these fills and zero-points


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
        place = product.values.codes.device
        words = panel_words(case).to(place)
        fields = torch.arange(case.unit, device=place)
        self.columns = (words[:, None] * case.unit + fields).flatten()
        self.note = f" (of {case.n} columns {len(self.columns)} were judged)"
        wide = [name for name in ("qweight", "scales", "fractions") if name in layer]
        part = {name: layer[name][:, self.columns] for name in wide}
        part["qzeros"] = layer["qzeros"].unflatten(1, (-1, case.unit_words))[:, words].flatten(1)
        self.expected: Expected = make(columns_of(product, self.columns), layer | part)

    def check(self, out: torch.Tensor, rows=slice(None), columns=slice(None)) -> Mismatch:
        """Judge `out`, which must equal the chosen rows and columns of the answer."""
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

        return Mismatch(wrong, out, find_worst, self.note)

    def used(self, out: torch.Tensor) -> float:
        """Largest share of the bounds that an error took."""
        return self.expected.used(out[:, self.columns.to(out.device)])
