"""What a right answer is: for every element, the closed intervals that it may lie in.

With x = left, w = (q - z) s and R terms in a sum, a kernel computes y = fl(sum_k x_k w'_k + error),
where w' is w or w rounded once (`Numerics.weights`). For each admitted w' the interval is
[fl(ref - e), fl(ref + e)], ref = x @ w' in float64, fl the last rounding to nearest even, which is
monotone: so ties, subnormal results and overflow to infinity need no rule of their own. NaN lies in
no interval, so it passes nowhere that a finite value is due. e is the sum of the rows that apply:

| term of e                      | where                       | what it stands for                |
|--------------------------------|-----------------------------|-----------------------------------|
| 0, and no other                | exact, sparse (1)           | every partial sum is representable|
| c (u A + h), c = 2, or 3 (2)   | onehot, lanes               | one product, zero folded in       |
| min(n, g / (1 - g u)) (u A + h)| else; n = R + 3, g = 8 n^.5 | sums in any order (3), (4)        |
| ceil(R / 16) 2^-p A            | tensor cores                | they truncate in blocks of 16     |
| min(8 |x^2 @ d^2|^.5, |x| @ d) | scaled_zero, tf32           | d: what more moves a weight (5)   |

A = |x| @ w+, w+ = s (q + z) where the zero-point may be folded in, else |w|. u is the unit
roundoff and h half the smallest subnormal of the accumulator; where partial sums are declared in
another format, the row counts once more with theirs.

(1) Where the accumulator and the partial sums hold the steps of the fill: 2^24 for `exact`, 2^11
    (x in bfloat16: 2^8) for `sparse`. A float16 accumulator rounds on `exact`; (3) judges it there.
(2) s q of a float32 scale, x s q (or x s z), and the difference of both.
(3) An operation on a, b gives (a op b)(1 + d) + t with |d| <= u, |t| <= h. The error is the sum of
    d_i times what is being rounded: R - 1 partial sums, none above A (1 + e / A); the products, the
    scaled group sums, the two sums of a folded zero-point and the weights in float32, each set
    at most A in all. Sum of squares: at most n A^2 (1 + e / A)^2. Worst case: n u A (Jeannerod and
    Rump, SIMAX 2013, without higher orders). For d_i of zero mean, whatever came before: Azuma's
    inequality gives g u (A + e) but for one in 2 exp(-32) = 2.5e-14; solved for e, the row above.
    Sources: Higham and Mary, SISC 2019; Ipsen and Zhou, SIMAX 2020. It holds for random fills: x
    has symmetric signs there. Data of any other origin (no fill) get n, and |x| @ d in row 5.
(4) Any order: blocks and trees have fewer, smaller partial sums. A partial sum of A + e >= 65520 in
    float16 may overflow: infinities and NaN are right there too.
(5) TF32 keeps 11 digits, by truncation on some cores: d = 2^-10 w+ for the weight, as much again
    for a float32 x. s z rounded before the subtraction: s q and s z move by half a step each, of
    which one at most is as large as that of w+, and the rounded difference lies within one step of
    w' then: d = one step of w+. x has symmetric signs: Hoeffding, once in 4e13 as in (3).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from gptq_fuzz.case.backend import Numerics
from gptq_fuzz.problem.fills import ACCUMULATOR_STEPS, EXACT_BUDGET, Values
from gptq_fuzz.problem.operands import Product
from gptq_fuzz.problem.rounding import F16, F32, FORMATS, Format, round_to, truncation_error

LAMBDA = 8.0  # 2 exp(-LAMBDA^2 / 2) = 2.5e-14: chance of a false alarm per element
OVERFLOW_OF_FLOAT16 = 65520.0  # what rounds to infinity, or to the largest even number below
LARGEST_RATIO = 1e300
EXTRA_ROUNDINGS = 3  # n = R - 1 sums + 4 more kinds of rounding, see (3) above
# Bits kept when products are aligned inside a tensor core, by compute capability; else the fewest.
TENSOR_CORE_BITS = {70: 23, 75: 23, 80: 24, 86: 24, 89: 24, 90: 25, 100: 25, 120: 25}
TF32_DIGITS = 11


class Element(NamedTuple):
    """One element of an output, what the reference gives there, and |error| / bound."""

    row: int
    column: int
    out: float
    ref: float
    ratio: float


@dataclass
class Mismatch:
    """Elements outside their intervals: a mask [M, J], and the worst of them."""

    wrong: torch.Tensor
    out: torch.Tensor
    find_worst: Callable[[torch.Tensor], Element]  # of a mask's elements, when asked

    @functools.cached_property
    def worst_element(self) -> Element:
        return self.find_worst(self.wrong)

    @property
    def count(self) -> int:
        return int(self.wrong.sum())

    def worst(self) -> tuple[int, int]:
        return self.worst_element[:2]

    def worst_ratio(self) -> float:
        """Largest |error| / bound, within what JSON can say of an infinite one."""
        return min(self.worst_element.ratio, LARGEST_RATIO)

    def describe(self, extra: str = "") -> str:
        row, column, out, ref, ratio = self.worst_element
        return (
            f"{self.count} of {self.wrong.numel()} elements{extra}; worst out[{row}, {column}] = "
            f"{out:.6g}, ref = {ref:.6g}, |error| / bound = {ratio:.3g}"
        )


class Expected:
    """The intervals of one problem: computed once, asked for every output that must agree."""

    def __init__(self, product: Product, weight: torch.Tensor, numerics: Numerics, capability: int):
        """`weight` [K, N] float64 is the reference's; `capability` 90 for sm_90, 0 for a CPU."""
        self.product = product
        self.numerics = numerics
        self.capability = capability
        self.fmt = FORMATS[product.dtype]
        values = product.values
        self._left = values.left
        self._bias = None if product.backward else values.bias
        right = weight.T if product.backward else weight
        self._nonfinite = self._special_masks(values, right) if self._is_special() else None
        self.references = [self._left @ admitted for admitted in self._admitted(right)]
        magnitude = self._magnitude(values, right)
        self.error = self._error(magnitude)
        self._may_overflow = self._overflows(magnitude)
        self.bounds = [self._interval(ref) for ref in self.references]

    @property
    def _is_random(self) -> bool:
        """Whether the data were drawn by a fill, whose signs do not depend on each other."""
        return self.product.fill is not None

    def _is_special(self) -> bool:
        if self._is_random:
            return self.product.fill == "nonfinite"
        given = (self._left, self.product.values.scales, self._bias)
        return not all(torch.isfinite(part).all() for part in given if part is not None)

    def _special_masks(self, values: Values, right: torch.Tensor):
        nan_weights = torch.isnan(values.scales)[values.g_idx]
        nan_right = nan_weights.T if self.product.backward else nan_weights
        return _nonfinite_masks(values.left, right, nan_right, self._bias)

    def _admitted(self, right: torch.Tensor):
        """The weights that the declared roundings allow; float32 scales round in float32 first."""
        computed = round_to(right, F32)
        for name in self.numerics.weights:
            if name == "exact":
                yield computed
                continue
            fmt = self._format(name)
            yield round_to(computed, fmt)
            if self.product.scales_dtype == "f32":  # in more than float32, then rounded once
                yield round_to(right, fmt)

    def _magnitude(self, values, right: torch.Tensor) -> torch.Tensor:
        """|left| @ w+ [M, J]: what rounding errors are relative to."""
        larger = right.abs()
        if self.numerics.folds_zero or self.numerics.scaled_zero:
            folded = (values.codes + values.zeros[values.g_idx]) * values.scales.abs()[values.g_idx]
            larger = folded.T if self.product.backward else folded
        self._larger = larger
        return self._left.abs() @ larger

    def _error(self, magnitude: torch.Tensor) -> torch.Tensor:
        """e: the rows of the table above that apply to this case."""
        product, sums = self.product, self._sum_formats()
        if all(2**fmt.digits > self._steps() for fmt in sums):
            return torch.zeros_like(magnitude)
        if product.fill in ("onehot", "lanes"):
            roundings = 3 if product.scales_dtype == "f32" else 2
            error = sum(_standard_error(roundings, fmt, magnitude) for fmt in sums)
            return error + self._declared_roundings()
        reduction = self._left.shape[1]
        error = sum(_standard_error(self._growth(reduction, fmt), fmt, magnitude) for fmt in sums)
        if self.capability:
            kept = TENSOR_CORE_BITS.get(self.capability, min(TENSOR_CORE_BITS.values()))
            error = error + -(-reduction // 16) * 2.0**-kept * magnitude
        return error + self._declared_roundings()

    def _growth(self, reduction: int, fmt: Format) -> float:
        """How many roundings of an accumulator add up to the worst error of a sum: see (3)."""
        terms = reduction + EXTRA_ROUNDINGS
        random = LAMBDA * math.sqrt(terms)
        left_over = 1 - random * fmt.unit_roundoff
        if not self._is_random or left_over <= 0:
            return terms
        return min(terms, random / left_over)

    def _sum_formats(self) -> list[Format]:
        """The formats that sums are held in, each once."""
        names = dict.fromkeys((self.numerics.accumulator, self.numerics.partial))
        return [self._format(name) for name in names]

    def _format(self, name: str) -> Format:
        return self.fmt if name == "x" else FORMATS[name]

    def _steps(self) -> float:
        """The steps that no partial sum exceeds; infinite for real numbers."""
        counted = {"exact": EXACT_BUDGET, "sparse": ACCUMULATOR_STEPS[self.product.dtype] - 1}
        return counted.get(self.product.fill, math.inf)

    def _declared_roundings(self):
        """Roundings of operands that are declared beyond one of the weight: see (5) above."""
        worst = torch.zeros_like(self._larger)
        if self.numerics.scaled_zero:
            worst = worst + 2 * truncation_error(self._larger, self.fmt)
        if self.numerics.tf32:
            operands = 2 if self.product.dtype == "f32" else 1  # 11 digits of others are kept
            worst = worst + operands * 2.0 ** (1 - TF32_DIGITS) * self._larger
        if not worst.any():
            return 0.0
        most = self._left.abs() @ worst
        if not self._is_random:
            return most
        return torch.minimum(LAMBDA * torch.sqrt((self._left**2) @ (worst**2)), most)

    def _overflows(self, magnitude: torch.Tensor) -> torch.Tensor | None:
        """Where a partial sum declared in float16 may leave its range, see (4) above."""
        if not self._is_random:
            return self._may_leave_range(magnitude)
        if F16 not in self._sum_formats() or self.product.fill in ("exact", "sparse"):
            return None
        return magnitude + self.error >= OVERFLOW_OF_FLOAT16

    def _may_leave_range(self, magnitude: torch.Tensor) -> torch.Tensor:
        """The same for data of any size: in each format of a partial sum or a rounded weight."""
        weights = [self._format(name) for name in self.numerics.weights if name != "exact"]
        most = min(fmt.largest for fmt in [F32, *weights])
        beyond = (self._larger.abs() > most).any(0)
        return beyond | (magnitude + self.error > min(fmt.largest for fmt in self._sum_formats()))

    def _interval(self, ref: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self._finish(ref - self.error), self._finish(ref + self.error)

    def _finish(self, value: torch.Tensor) -> torch.Tensor:
        """The last roundings: of the sum, and of the sum with the bias."""
        if self._bias is None:
            return round_to(value, self.fmt)
        if self.numerics.bias_after:
            value = round_to(value, self.fmt)
        return round_to(value + self._bias, self.fmt)

    def check(self, out: torch.Tensor, rows=slice(None), columns=slice(None)) -> Mismatch:
        """Judge `out` [M', J'], which must equal the chosen rows and columns of the answer."""
        out = out.to(self.error.device).double()
        right = torch.zeros(out.shape, dtype=torch.bool, device=out.device)
        for low, high in self.bounds:
            right |= (out >= low[rows][:, columns]) & (out <= high[rows][:, columns])
        if self._may_overflow is not None:
            right |= self._may_overflow[rows][:, columns] & ~torch.isfinite(out)
        if self._nonfinite is not None:
            right = self._judge_special(out, right, rows, columns)
        return Mismatch(~right, out, lambda wrong: self._worst(wrong, out, rows, columns))

    def _worst(self, wrong: torch.Tensor, out: torch.Tensor, rows, columns) -> Element:
        ref = self._finish(self.references[0])[rows][:, columns]
        ratio = self._ratio(out, rows, columns)
        at = divmod(int(torch.where(wrong, ratio, -1.0).argmax()), wrong.shape[1])
        return Element(*at, *(values[at].item() for values in (out, ref, ratio)))

    def _judge_special(self, out, right, rows, columns):
        must_nan, any_special, settled = (mask[rows][:, columns] for mask in self._nonfinite)
        ref = self.references[0][rows][:, columns]
        # Folded, an infinity may meet its opposite and become NaN; its sign never changes.
        same = (torch.isnan(out) & (torch.isnan(ref) | self.numerics.folds_zero)) | (out == ref)
        if self.numerics.scaled_zero:  # s q - fl(s z) need not vanish where q = z
            same |= torch.isnan(ref) & torch.isinf(out)
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
        if self._nonfinite is not None or not self.error.any() or not out.numel():
            return 0.0
        shares = torch.full_like(self.error, torch.inf)
        out = out.to(self.error.device)
        if self._may_overflow is not None:
            out = torch.where(self._may_overflow & torch.isinf(out), torch.nan, out)
        for ref in self.references:
            shares = torch.fmin(shares, self._moved(out, ref) / self.error)
        finite = shares[torch.isfinite(shares)]
        return float(finite.max()) if finite.numel() and self._bias is None else 0.0

    def _moved(self, out: torch.Tensor, ref: torch.Tensor) -> torch.Tensor:
        """How far `ref` must move at the least for the last rounding to give `out`."""
        next_power = 2.0 ** math.ceil(math.log2(self.fmt.largest))
        beyond = ref.abs().clamp(min=next_power) * out.sign()
        out = torch.where(torch.isinf(out), beyond, out)
        inward = torch.where(out.abs() > ref.abs(), out * (1 - 2.0**-30), out)  # side of ref
        return ((out - ref).abs() - truncation_error(inward, self.fmt)).clamp(min=0)


def _standard_error(roundings: float, fmt: Format, magnitude: torch.Tensor) -> torch.Tensor:
    return roundings * (fmt.unit_roundoff * magnitude + fmt.smallest / 2)


def _nonfinite_masks(
    left: torch.Tensor, right: torch.Tensor, nan_right: torch.Tensor, bias: torch.Tensor | None
):
    """[M, J] each: NaN is due; some NaN or infinity is due; its sign is settled in any order."""

    def spread(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        return rows.any(1, keepdim=True) | columns.any(0, keepdim=True)

    special_right = ~torch.isfinite(right)
    any_special = spread(~torch.isfinite(left), special_right)
    must_nan = spread(torch.isnan(left), nan_right)
    settled = any_special & ~special_right.any(0, keepdim=True)
    if bias is not None:
        must_nan, any_special = must_nan | torch.isnan(bias), any_special | ~torch.isfinite(bias)
        settled = settled & torch.isfinite(bias)
    return must_nan, any_special, settled


def machine_capability(device: str) -> int:
    """90 for sm_90; 0 for a CPU, where no tensor core truncates."""
    if not str(device).startswith("cuda"):
        return 0
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor
