"""What a right answer is: for every element, the closed intervals that it may lie in.

With x = left, w = (q - z) s and R terms in a sum, a kernel computes y = fl(sum_k x_k w'_k + error),
where w' is w or w rounded once (`Numerics.weights`). For each admitted w' the interval is
[fl(ref - e), fl(ref + e)], ref = x @ w' in float64, fl the last rounding to nearest even, which is
monotone: so ties, subnormal results and overflow to infinity need no rule of their own. e is

    0                                        `exact`, `sparse`: nothing may round before the end
    2^-23 |x| s (q + z)                      `onehot`, `lanes`: one product, zero perhaps folded in
    min(R + 3, 8 sqrt(R)) u_acc |x| @ w+     else: any order; 8 sqrt(R) fails once in 10^13
    + ceil(R / 16) 2^-p |x| @ w+             tensor cores, which truncate inside a block of 16

with w+ = s (q + z) where the zero-point may be folded in, else |w|. Source of the third line: "A
New Approach to Probabilistic Rounding Error Analysis" (SISC 2019); it holds for independent errors,
hence for random fills. NaN lies in no interval, so it passes nowhere that a finite value is due.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from .backend import Numerics
from .fills import Values
from .operands import Operands
from .rounding import F32, FORMATS, round_to, truncation_error

LAMBDA = 8.0  # 2 exp(-LAMBDA^2 / 2) = 2.5e-14: chance of a false alarm per element
EXTRA_ROUNDINGS = 3  # product, scale, and joining of the two sums of a folded zero-point
ONE_PRODUCT = 2.0**-23
# Bits kept when products are aligned inside a tensor core, by compute capability; else the fewest.
TENSOR_CORE_BITS = {70: 23, 75: 23, 80: 24, 86: 24, 89: 24, 90: 25, 100: 25, 120: 25}
TF32_DIGITS = 11


@dataclass
class Finding:
    """Elements outside their intervals: a mask [M, J], and the worst of them."""

    wrong: torch.Tensor
    out: torch.Tensor
    measure: Callable[[], tuple[torch.Tensor, torch.Tensor]]  # (|error| / bound, ref), when asked

    @functools.cached_property
    def ratio(self) -> torch.Tensor:
        return self.measure()[0]

    @functools.cached_property
    def ref(self) -> torch.Tensor:
        return self.measure()[1]

    @property
    def count(self) -> int:
        return int(self.wrong.sum())

    def worst(self) -> tuple[int, int]:
        place = int(torch.where(self.wrong, self.ratio, -1.0).argmax())
        return divmod(place, self.wrong.shape[1])

    def describe(self, extra: str = "") -> str:
        row, column = self.worst()
        out, ref = self.out[row, column].item(), self.ref[row, column].item()
        return (
            f"{self.count} of {self.wrong.numel()} elements{extra}; worst out[{row}, {column}] = "
            f"{out:.6g}, ref = {ref:.6g}, |error| / bound = {self.ratio[row, column].item():.3g}"
        )


class Expected:
    """The intervals of one problem: made once, asked for every output that must agree."""

    def __init__(
        self, operands: Operands, weight: torch.Tensor, numerics: Numerics, capability: int
    ):
        """`weight` [K, N] float64 is the reference's; `capability` 90 for sm_90, 0 for a CPU."""
        self.case = operands.case
        self.numerics = numerics
        self.capability = capability
        self.fmt = FORMATS[self.case.dtype]
        values = operands.values
        self._left = values.left
        self._bias = None if self.case.backward else values.bias
        right = weight.T if self.case.backward else weight
        self._nonfinite = self._special_masks(values, right) if self._is_special() else None
        self.references = [self._left @ made for made in self._admitted(right)]
        self.error = self._error(self._magnitude(values, right))
        self.bounds = [self._interval(ref) for ref in self.references]

    def _is_special(self) -> bool:
        return self.case.fill == "nonfinite"

    def _special_masks(self, values: Values, right: torch.Tensor):
        nan_weights = torch.isnan(values.scales)[values.g_idx]
        nan_right = nan_weights.T if self.case.backward else nan_weights
        return _nonfinite_masks(values.left, right, nan_right)

    def _admitted(self, right: torch.Tensor):
        """The weights that the declared roundings allow; float32 scales round in float32 first."""
        made = round_to(right, F32)
        for name in self.numerics.weights:
            if name == "exact":
                yield made
                continue
            fmt = FORMATS[self.case.dtype if name == "x" else name]
            yield round_to(made, fmt)
            if self.case.scales_dtype == "sf32":  # made in more than float32, then rounded once
                yield round_to(right, fmt)

    def _magnitude(self, values, right: torch.Tensor) -> torch.Tensor:
        """|left| @ w+ [M, J]: what rounding errors are relative to."""
        larger = right.abs()
        if self.numerics.folds_zero or self.numerics.scaled_zero:
            folded = (values.codes + values.zeros[values.g_idx]) * values.scales.abs()[values.g_idx]
            larger = folded.T if self.case.backward else folded
        self._larger = larger
        return self._left.abs() @ larger

    def _error(self, magnitude: torch.Tensor) -> torch.Tensor:
        numerics, terms = self.numerics, self.case.reduction
        if self.case.fill in ("exact", "sparse"):
            return torch.zeros_like(magnitude)
        if self.case.fill in ("onehot", "lanes"):
            # s q of a float32 scale is a third rounding
            rounded = ONE_PRODUCT * (1.5 if self.case.scales_dtype == "sf32" else 1.0)
            return rounded * magnitude + self._declared_roundings()
        growth = min(terms + EXTRA_ROUNDINGS, LAMBDA * math.sqrt(terms))
        unit = FORMATS[numerics.accumulator].unit_roundoff
        unit += FORMATS[numerics.partial].unit_roundoff * (numerics.partial != numerics.accumulator)
        error = growth * unit * magnitude
        if self.capability:
            kept = TENSOR_CORE_BITS.get(self.capability, min(TENSOR_CORE_BITS.values()))
            error = error + -(-terms // 16) * 2.0**-kept * magnitude
        return error + self._declared_roundings()

    def _declared_roundings(self):
        """Roundings of the weights that are declared beyond one: a scaled zero-point, TF32."""
        worst = 0.0
        if self.numerics.scaled_zero:
            worst = worst + 2 * truncation_error(self._larger, FORMATS[self.case.dtype])
        if self.numerics.tf32:
            worst = worst + self._larger * 2.0 ** (1 - TF32_DIGITS)
        if isinstance(worst, float):
            return worst
        random = LAMBDA * torch.sqrt((self._left**2) @ (worst**2))
        return torch.minimum(random, self._left.abs() @ worst)

    def _interval(self, ref: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self._finish(ref - self.error), self._finish(ref + self.error)

    def _finish(self, value: torch.Tensor) -> torch.Tensor:
        """The last roundings: of the sum, and of the sum with the bias."""
        if self._bias is None:
            return round_to(value, self.fmt)
        if self.numerics.bias_after:
            value = round_to(value, self.fmt)
        return round_to(value + self._bias, self.fmt)

    def check(self, out: torch.Tensor, rows=slice(None), columns=slice(None)) -> Finding:
        """Judge `out` [M', J'], which must equal the chosen rows and columns of the answer."""
        out = out.to(self.error.device).double()
        right = torch.zeros(out.shape, dtype=torch.bool, device=out.device)
        for low, high in self.bounds:
            right |= (out >= low[rows][:, columns]) & (out <= high[rows][:, columns])
        if self._nonfinite is not None:
            right = self._judge_special(out, right, rows, columns)
        return Finding(~right, out, lambda: self._measure(out, rows, columns))

    def _measure(self, out, rows, columns):
        ref = self._finish(self.references[0])[rows][:, columns]
        return self._ratio(out, rows, columns), ref

    def _judge_special(self, out, right, rows, columns):
        must_nan, any_special, settled = (mask[rows][:, columns] for mask in self._nonfinite)
        ref = self.references[0][rows][:, columns]
        # Folded, an infinity may meet its opposite and become NaN; its sign never changes.
        same = (torch.isnan(out) & (torch.isnan(ref) | self.numerics.folds_zero)) | (out == ref)
        agrees = torch.where(settled, same, ~torch.isfinite(out))
        return torch.where(must_nan, torch.isnan(out), torch.where(any_special, agrees, right))

    def _ratio(self, out, rows, columns) -> torch.Tensor:
        """|error| / bound for each element, the bound with its last rounding; infinite for NaN."""
        best = torch.full_like(out, torch.inf)
        for ref in self.references:
            ref = ref if self._bias is None else ref + self._bias
            ref = ref[rows][:, columns]
            bound = self.error[rows][:, columns] + truncation_error(ref, self.fmt)
            best = torch.fmin(best, (out - ref).abs() / bound)
        return best

    def used(self, out: torch.Tensor) -> float:
        """Largest share of e that the error took, the last rounding left out; 0 where e is 0."""
        if self._is_special() or self.case.fill in ("exact", "sparse") or not out.numel():
            return 0.0
        best = torch.full_like(self.error, torch.inf)
        out = out.to(self.error.device).double()
        for ref in self.references:
            beyond = (out - ref).abs() - truncation_error(ref, self.fmt)
            share = beyond.clamp(min=0) / self.error
            best = torch.fmin(best, torch.where(beyond > 0, share, torch.zeros_like(share)))
        finite = best[torch.isfinite(best)]
        return float(finite.max()) if finite.numel() and self._bias is None else 0.0


def _nonfinite_masks(left: torch.Tensor, right: torch.Tensor, nan_right: torch.Tensor):
    """[M, J] each: NaN is due; some NaN or infinity is due; its sign is settled in any order."""

    def spread(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        return rows.any(1, keepdim=True) | columns.any(0, keepdim=True)

    special_right = ~torch.isfinite(right)
    any_special = spread(~torch.isfinite(left), special_right)
    must_nan = spread(torch.isnan(left), nan_right)
    settled = any_special & ~special_right.any(0, keepdim=True)
    return must_nan, any_special, settled


def machine_capability(device: str) -> int:
    """90 for sm_90; 0 for a CPU, where no tensor core truncates."""
    if not str(device).startswith("cuda"):
        return 0
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor
