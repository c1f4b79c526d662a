"""Of a large problem, the words of columns where a result is furthest from a plain product.

Faults of a layer may be in a few of its thousand words: a share of columns, a tile. A product of
all columns in float64 costs little beside making the operands; the bounds, which say what is wrong,
would cost much more, and are computed where it points to.
"""

from __future__ import annotations

import functools

import torch

from gptq_fuzz.problem.operands import Product
from gptq_fuzz.problem.rounding import FORMATS, round_to

MULTIPLICATIONS, RESULTS = 2**32, 2**21  # of more every other row, every third, ... is looked at
WEIGHTS = {"cpu": 2**20, "cuda": 2**26}  # that are made at a time: they stay in a CPU's cache
OF_SIZE = 2.0**-20  # of the sum of all terms' sizes: what a right result may be off by, roughly


class Screen:
    """Of one problem; results are compared as far as a float64 product without bounds can tell."""

    def __init__(self, product: Product, unit: int):
        """`unit` columns are a word."""
        self._product, self._unit = product, unit
        (m, k), n = product.values.left.shape, product.values.codes.shape[1]
        self._step = max(1, -(-m * n // RESULTS), -(-m * n * k // MULTIPLICATIONS))

    def furthest(self, out: torch.Tensor, rows: slice, first: int, count: int) -> list[int]:
        """At most `count` words of columns, the furthest first; `out` are these rows, and columns
        from `first` on.
        """
        m = len(self._product.values.left)
        chosen = torch.arange(0, m, self._step)
        place = torch.full((m,), -1)
        place[rows] = torch.arange(len(out))
        chosen, place = chosen[place[chosen] >= 0], place[chosen]
        if not len(chosen):
            return []
        due, size = (part[chosen // self._step, first : first + out.shape[1]] for part in self._due)
        found = out[place[place >= 0].to(out.device)].to(due.device).double()
        apart = (found - due).abs() / size
        both = (found == due) | (~found.isfinite() & ~due.isfinite())
        apart = torch.where(both, 0.0, apart.nan_to_num(torch.inf, torch.inf)).amax(0)
        words = apart.unflatten(0, (-1, self._unit)).amax(1)
        far, order = words.sort(descending=True, stable=True)
        return [first // self._unit + int(word) for word in order[:count][far[:count] > 0]]

    @functools.cached_property
    def _due(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Results as their dtype holds them, and roughly how far right ones are from them."""
        values, fmt = self._product.values, FORMATS[self._product.dtype]
        left, weights = values.left[:: self._step], WEIGHTS[values.left.device.type]
        at_a_time = max(weights // len(values.codes), 1)
        sums, sizes = [], []
        for begin in range(0, values.codes.shape[1], at_a_time):
            part = slice(begin, begin + at_a_time)
            weight = values.codes[:, part] - values.zero_points[values.g_idx, part]
            weight = weight * values.scales[values.g_idx, part]
            sums.append(left @ weight)
            sizes.append(left.abs() @ weight.abs_())
        exact = torch.cat(sums, 1)
        exact = exact if values.bias is None else exact + values.bias
        due = round_to(exact, fmt)
        digits = 2.0 ** -min(fmt.digits, 20)
        size = due.abs() * digits + torch.cat(sizes, 1) * OF_SIZE + fmt.smallest
        return due, size.nan_to_num(1.0, 1.0)
