"""What a right answer is: for every element, the closed intervals that it may lie in.

With x = left, w = (q - z) s and R terms in a sum, a kernel computes y = fl(sum_k x_k w'_k + error),
where w' is w or w rounded once (`Numerics.weights`), in the same way for the whole result. For
each admitted w' the interval is [fl(ref - e), fl(ref + e)], ref = x @ w' in float64, fl the last
rounding to nearest even, which is monotone: so ties, subnormal results and overflow to infinity
need no rule of their own. NaN lies in no interval, so it passes nowhere that a finite value is due.
e is 0 where every partial sum is representable (1), else the sum of the rows that apply:

| term of e                      | where                       | what it stands for                |
|--------------------------------|-----------------------------|-----------------------------------|
| c (u A + h), c = 2, or 3 (2)   | onehot, lanes               | one product, zero folded in       |
| min(n, g / (1 - g u)) (u A + h)| else; n = R + 3, g = 8 n^.5 | sums in any order (3), (4)        |
| (min(R, 8 R^.5) + R / 16) 2^-p A' | tensor cores             | they truncate in blocks of 16 (6) |
| min(8 |x^2 @ d^2|^.5, |x| @ d) | scaled_zero, tf32           | d: what more moves a weight (5)   |

A = |x| @ w+, w+ the largest term that a weight may be split into: |w|; with the zero-point folded
in, s max(q + z, |q - c| + |z - c|), c = 2^(bits - 1), since codes and zero-points may be counted
from 0 or from the middle; with zero-points stored as floats f, s |q - c| + |f|. u is the unit
roundoff and h half the smallest subnormal of the accumulator; where partial sums are declared in
another format, the row counts once more with theirs.

(1) Let t be the last digit that any x of the row has, times the last one of any scale of the
    column, and of its zero-points where these have fractions. Every partial sum in any order is a
    multiple of t and at most A: representable, and kept by tensor cores that align products to p
    bits, where A <= 2^p' t, p' the fewest digits of the accumulator, of partial sums and p, and t
    is no less than their smallest subnormal. `exact` has 2^24 steps, `sparse` 2^11 (x in bfloat16:
    2^8); `pruned` has those of `exact`, since an x whose scales are 0 adds nothing to A.
(2) s q of a float32 scale, x s q (or x s z), and the difference of both.
(3) An operation on a, b gives (a op b)(1 + d) + t with |d| <= u, |t| <= h. The error is the sum of
    d_i times what is being rounded: R - 1 partial sums, none above A (1 + e / A); the products, the
    scaled group sums, the two sums of a folded zero-point and the weights in float32, each set
    at most A in all. Sum of squares: at most n A^2 (1 + e / A)^2. Worst case: n u A (Jeannerod and
    Rump, SIMAX 2013, without higher orders). For d_i of zero mean, whatever came before: Azuma's
    inequality gives g u (A + e) but for one in 2 exp(-32) = 2.5e-14; solved for e, the row above.
    Sources: Higham and Mary, SISC 2019; Ipsen and Zhou, SIMAX 2020. It holds for random fills: x
    has symmetric signs there. Chosen sums (`cancel`) and data of any other origin (no fill) get n,
    the latter |x| @ d in the last row too.
(4) Any order: blocks and trees have fewer, smaller partial sums. A partial sum of A + e >= 65520 in
    float16 may overflow: infinities and NaN are right there too.
(5) TF32 keeps 11 digits, by truncation on some cores: d = 2^-10 w+ for the weight, as much again
    for a float32 x. s z rounded before the subtraction: s q and s z move by half a step each, of
    which one at most is as large as that of w+, and the rounded difference lies within one step of
    w' then: d = one step of w+. x has symmetric signs: Hoeffding, once in 4e13 as in (3). Of
    `varied`, whose x has pairs of opposite elements, 8 stands for 8 * 2^.5, here, in (3) and (6).

(6) In each block every product, and the sum so far, loses what is below p bits of the largest: as
    many errors as products, of symmetric signs on random fills (Hoeffding), and one a block.
    They align products by the exponents of both operands, as these are stored: a subnormal float16
    has the exponent of the smallest normal one, 2^-14, however small it is (measured on an H100).
    A' is A with each x and w+ of float16 raised to that; kept as in (1) is what has A' <= 2^p t.

A bias b is added to the rounded sum, fl(fl(sum) + b), or within the accumulator, fl(fl'(sum + b)),
as one more term of it: R + 1 terms, A + |b|, t at most the last digit of b. What is better than
declared is right: a weight that is not rounded at all, fl(sum + b) rounded once.

A product with a zero weight or a zero x is a product: an infinity times it is NaN, and NaN in a
scale reaches its column, so a kernel may not skip it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch

from gptq_fuzz.case.axes import EVERY_NAN, HEAVY, VARIED
from gptq_fuzz.case.backend import Numerics
from gptq_fuzz.problem.fills import Values
from gptq_fuzz.problem.operands import Product
from gptq_fuzz.problem.rounding import (
    F16,
    F32,
    FORMATS,
    Format,
    last_digit,
    round_to,
    truncation_error,
)

LAMBDA = 8.0  # 2 exp(-LAMBDA^2 / 2) = 2.5e-14: chance of a false alarm per element
OVERFLOW_OF_FLOAT16 = 65520.0  # what rounds to infinity, or to the largest even number below
LARGEST_RATIO = 1e300
EXTRA_ROUNDINGS = 3  # n = R - 1 sums + 4 more kinds of rounding, see (3) above
# Bits kept when products are aligned inside a tensor core, by compute capability; else the fewest.
TENSOR_CORE_BITS = {70: 23, 75: 23, 80: 24, 86: 24, 89: 24, 90: 25, 100: 25, 120: 25}
TF32_DIGITS = 11
# Fills of powers of two and small integers; what else `pruned` has meets scales of 0
WHOLE_STEPS = ("exact", "sparse", "ties", "cancel", "pruned")
SPECIAL = ("nonfinite", "masked", "opposed", EVERY_NAN)  # fills that have NaN or infinities


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
    note: str = ""

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
            f"{out:.6g}, ref = {ref:.6g}, |error| / bound = {ratio:.3g}{self.note}"
        )

    def beside(self, other: Mismatch) -> Mismatch:
        """Of two results that were judged apart and lie side by side."""
        width = self.wrong.shape[1]

        def find_worst(wrong: torch.Tensor) -> Element:
            own, theirs = wrong[:, :width], wrong[:, width:]
            found = [self.find_worst(own)] * bool(own.any())
            if theirs.any():
                worst = other.find_worst(theirs)
                found.append(worst._replace(column=worst.column + width))
            return max(found, key=lambda element: element.ratio)

        wrong, out = torch.cat([self.wrong, other.wrong], 1), torch.cat([self.out, other.out], 1)
        return Mismatch(wrong, out, find_worst, self.note or other.note)


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
        if numerics.zero == "float":
            weight = self._with_float_zeros(values)
        right = weight.T if product.backward else weight
        self._nonfinite = self._special_masks(values, right) if self._is_special() else None
        self._larger = self._largest_terms(values, right)
        magnitude = self._left.abs() @ self._larger
        self._aligned = self._as_aligned(magnitude)
        self.error = self._error(magnitude)
        self._inner = self._error_with_bias(magnitude)  # of sums that hold the bias too
        self._may_overflow = self._overflows(magnitude)
        # One list a way of rounding weights: whole results agree with one of them. Ways that leave
        # all weights as they are share the same tensor, and what is computed of it.
        ways = self._admitted(right)
        products = {id(weight): self._left @ weight for way in ways for weight in way}
        intervals = {key: list(self._intervals(ref)) for key, ref in products.items()}
        self.references = [[products[id(weight)] for weight in way] for way in ways]
        self.bounds = [[both for weight in way for both in intervals[id(weight)]] for way in ways]

    @property
    def _is_random(self) -> bool:
        """Whether the data were drawn by a fill, whose signs do not depend on each other."""
        return self.product.fill not in (None, "cancel")

    @property
    def _lambda(self) -> float:
        """`varied` has pairs of opposite x: half as many independent errors, each twice as big."""
        return LAMBDA * math.sqrt(2) if self.product.fill == VARIED else LAMBDA

    def _is_special(self) -> bool:
        if self._is_random:
            return self.product.fill in SPECIAL
        given = (self._left, self.product.values.scales, self._bias)
        return not all(torch.isfinite(part).all() for part in given if part is not None)

    def _special_masks(self, values: Values, right: torch.Tensor):
        nan_weights = torch.isnan(values.scales)[values.g_idx]
        nan_right = nan_weights.T if self.product.backward else nan_weights
        return _nonfinite_masks(values.left, right, nan_right, self._bias)

    def _float_zeros(self, values: Values) -> torch.Tensor:
        """f [G, N]: (c - z) s as it is stored, in x's dtype."""
        return round_to((self.product.middle - values.zero_points) * values.scales, self.fmt)

    def _with_float_zeros(self, values: Values) -> torch.Tensor:
        """The weight [K, N] of the operands that such a kernel was handed: (q - c) s + f."""
        rows = values.g_idx
        centred = values.codes - self.product.middle
        return centred * values.scales[rows] + self._float_zeros(values)[rows]

    def _admitted(self, right: torch.Tensor) -> list[list[torch.Tensor]]:
        """For each declared rounding the weights that it gives; float32 scales round in float32
        first. Not to round at all is better than declared, so always right.
        """
        computed = round_to(right, F32)
        ways = []
        for name in dict.fromkeys((*self.numerics.weights, "exact")):
            if name == "exact":
                ways.append([computed])
                continue
            fmt = self._format(name)
            rounded = round_to(computed, fmt)
            ways.append([computed if torch.equal(rounded, computed) else rounded])
            if self.product.scales_dtype == "f32":  # in more than float32, then rounded once
                ways[-1].append(round_to(right, fmt))
        return ways

    def _largest_terms(self, values: Values, right: torch.Tensor) -> torch.Tensor:
        """w+: what rounding errors of weights and products are relative to."""
        if not (self.numerics.folds_zero or self.numerics.scaled_zero or self._holds_floats):
            return right.abs()
        rows, middle = values.g_idx, self.product.middle
        scales = values.scales.abs()[rows]
        if self._holds_floats:
            stored = self._float_zeros(values).abs()[rows]
            terms = (values.codes - middle).abs() * scales + stored
        else:
            zeros = values.zero_points[rows]
            around = (values.codes - middle).abs() + (zeros - middle).abs()
            terms = torch.maximum(values.codes + zeros, around) * scales
        return terms.T if self.product.backward else terms

    @property
    def _holds_floats(self) -> bool:
        return self.numerics.zero == "float"

    def _error(self, magnitude: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """e: the rows of the table above that apply to each element; with a bias as one more term
        of each sum.
        """
        aligned, more = self._aligned, 0
        if bias is not None:
            magnitude, aligned, more = magnitude + bias.abs(), aligned + bias.abs(), 1
        step = self._last_digits()
        step = step if bias is None else torch.minimum(step, last_digit(bias))
        held = step >= max(fmt.smallest for fmt in self._sum_formats())
        representable = held & (magnitude <= self._limit() * step)
        if self.capability:
            representable &= aligned <= 2.0 ** self._kept_bits() * step
        if representable.all():
            return torch.zeros_like(magnitude)
        product, sums = self.product, self._sum_formats()
        if product.fill in ("onehot", "lanes"):
            roundings = (3 if product.scales_dtype == "f32" else 2) + more
            error = sum(_standard_error(roundings, fmt, magnitude) for fmt in sums)
        else:
            terms = self._left.shape[1] + more
            error = sum(_standard_error(self._growth(terms, fmt), fmt, magnitude) for fmt in sums)
            if self.capability:
                cut = min(terms, self._lambda * math.sqrt(terms)) if self._is_random else terms
                error = error + (cut + -(-terms // 16)) * 2.0 ** -self._kept_bits() * aligned
        return torch.where(representable, 0.0, error + self._declared_roundings)

    def _error_with_bias(self, magnitude: torch.Tensor) -> torch.Tensor:
        if self._bias is None:
            return self.error
        return self._error(magnitude, self._bias.expand_as(magnitude))

    def _last_digits(self) -> torch.Tensor:
        """t [M, J]; 0 where roundings are declared that move weights by less than that."""
        values, backward = self.product.values, self.product.backward
        digits = last_digit(values.scales)
        if values.fractions is not None:
            digits = digits * last_digit(values.fractions).clamp(max=1.0)
        digits = digits.amin(1)[values.g_idx] if backward else digits.amin(0)
        steps = last_digit(self._left).amin(1, keepdim=True) * digits
        moved = self.numerics.scaled_zero or self.numerics.tf32
        return steps * 0 if moved and self.product.fill not in WHOLE_STEPS else steps

    def _limit(self) -> float:
        """How many steps a partial sum may have."""
        return 2.0 ** min(fmt.digits for fmt in self._sum_formats())

    def _as_aligned(self, magnitude: torch.Tensor) -> torch.Tensor:
        """A': what tensor cores align products of operands in x's dtype to."""
        if not self.capability or self.fmt is not F16:
            return magnitude
        return _no_subnormals(self._left) @ _no_subnormals(self._larger)

    def _kept_bits(self) -> int:
        """Bits that remain where the products of a block are aligned before they are added."""
        most = TENSOR_CORE_BITS.get(self.capability, min(TENSOR_CORE_BITS.values()))
        return min(most, self.numerics.aligned_bits or most)

    def _growth(self, terms: int, fmt: Format) -> float:
        """How many roundings of an accumulator add up to the worst error of a sum: see (3)."""
        terms = terms + EXTRA_ROUNDINGS
        random = self._lambda * math.sqrt(terms)
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

    @functools.cached_property
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
        return torch.minimum(self._lambda * torch.sqrt((self._left**2) @ (worst**2)), most)

    def _overflows(self, magnitude: torch.Tensor) -> torch.Tensor | None:
        """Where a partial sum declared in float16 may leave its range, see (4) above, or a `heavy`
        weight that of its own.
        """
        if not self._is_random or self.product.fill == HEAVY:
            return self._may_leave_range(magnitude)
        if F16 not in self._sum_formats():
            return None
        return magnitude + self._inner >= OVERFLOW_OF_FLOAT16

    def _may_leave_range(self, magnitude: torch.Tensor) -> torch.Tensor:
        """The same for data of any size: in each format of a partial sum, a rounded weight, or what
        is subtracted from one.
        """
        weights = [self._format(name) for name in self.numerics.weights if name != "exact"]
        weights += [self.fmt] * self.numerics.scaled_zero
        most = min(fmt.largest for fmt in [F32, *weights])
        beyond = (self._larger.abs() > most).any(0)
        return beyond | (magnitude + self._inner > min(fmt.largest for fmt in self._sum_formats()))

    def _intervals(self, ref: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """[M, J] each, lowest and highest; one for each order of adding the bias."""
        for finish, error in self._finishes():
            low = finish(ref - error)
            yield low, finish(ref + error) if error.any() else low

    def _finishes(self) -> Iterator[tuple[Callable, torch.Tensor]]:
        """The last roundings of a sum that are right, and e of that sum; as declared first."""
        bias, fmt, declared = self._bias, self.fmt, self.numerics.bias_after
        if bias is None:
            yield lambda value: round_to(value, fmt), self.error
            return
        if declared is not False:
            yield lambda value: round_to(round_to(value, fmt) + bias, fmt), self.error
        if declared is not True:
            for inner in self._sum_formats():
                yield (
                    lambda value, inner=inner: round_to(round_to(value + bias, inner), fmt),
                    self._inner,
                )
        # Better than declared, too: in the accumulator, which rounds the sum with the bias
        yield lambda value: round_to(value + bias, fmt), self._inner

    def check(self, out: torch.Tensor, rows=slice(None), columns=slice(None)) -> Mismatch:
        """Judge `out` [M', J'], which must equal the chosen rows and columns of the answer."""
        out = out.to(self.error.device).double()
        masks = self.wrong_by_way(out, rows, columns)
        way = fewest_wrong(masks)
        return Mismatch(
            masks[way],
            out,
            lambda wrong: self.worst(wrong, out, way, rows, columns),
            note_of(masks),
        )

    def wrong_by_way(
        self, out: torch.Tensor, rows=slice(None), columns=slice(None)
    ) -> list[torch.Tensor]:
        """For each way of rounding weights the elements of `out` that it cannot give."""
        pardoned = torch.zeros(out.shape, dtype=torch.bool, device=out.device)
        if self._may_overflow is not None:
            pardoned = self._may_overflow[rows][:, columns] & ~torch.isfinite(out)
        masks = []
        for bounds in self.bounds:
            right = pardoned.clone()
            for low, high in bounds:
                right |= (out >= low[rows][:, columns]) & (out <= high[rows][:, columns])
            if self._nonfinite is not None:
                right = self._judge_special(out, right, rows, columns)
            masks.append(~right)
        return masks

    def worst(
        self,
        wrong: torch.Tensor,
        out: torch.Tensor,
        way: int,
        rows=slice(None),
        columns=slice(None),
    ) -> Element:
        """Of the elements that `wrong` marks, judged by that way of rounding weights."""
        finish, _ = next(self._finishes())
        ref = finish(self.references[way][0])[rows][:, columns]
        ratio = self._ratio(out, rows, columns, way)
        at = divmod(int(torch.where(wrong, ratio, -1.0).argmax()), wrong.shape[1])
        return Element(*at, *(values[at].item() for values in (out, ref, ratio)))

    def _judge_special(self, out, right, rows, columns):
        must_nan, any_special, in_sum, settled = (m[rows][:, columns] for m in self._nonfinite)
        ref = self.references[0][0][rows][:, columns]
        if self._bias is not None:
            ref = ref + self._bias[columns]
        # Folded, an infinity may meet its opposite and become NaN; its sign never changes.
        may_be_nan = torch.isnan(ref) | (in_sum & self.numerics.folds_zero)
        same = (torch.isnan(out) & may_be_nan) | (out == ref)
        if self.numerics.scaled_zero:  # s q - fl(s z) need not vanish where q = z
            same |= torch.isnan(ref) & torch.isinf(out)
        agrees = torch.where(settled, same, ~torch.isfinite(out))
        return torch.where(must_nan, torch.isnan(out), torch.where(any_special, agrees, right))

    def _ratio(self, out, rows, columns, way: int) -> torch.Tensor:
        """|error| / bound for each element, the bound with its last roundings; infinite for NaN."""
        best = torch.full_like(out, torch.inf)
        for sums in self.references[way]:
            ref, last = sums, 0.0
            if self._bias is not None:
                ref = sums + self._bias
                rounded = F32 if self.numerics.bias_after is False else self.fmt
                last = truncation_error(sums, rounded)
            bound = self._inner + last + truncation_error(ref, self.fmt)
            ratio = (out - ref[rows][:, columns]).abs() / bound[rows][:, columns]
            best = torch.fmin(best, ratio)
        return best

    def used(self, out: torch.Tensor) -> float:
        """Largest share of e that the error took, the last rounding left out; 0 where e is 0."""
        if self._nonfinite is not None or self._bias is not None or not self.error.any():
            return 0.0
        out = out.to(self.error.device)
        if self._may_overflow is not None:
            out = torch.where(self._may_overflow & torch.isinf(out), torch.nan, out)
        return min(self._used_by(out, way) for way in self.references) if out.numel() else 0.0

    def _used_by(self, out: torch.Tensor, way: list[torch.Tensor]) -> float:
        shares = torch.full_like(self.error, torch.inf)
        for ref in way:
            shares = torch.fmin(shares, self._moved(out, ref) / self.error)
        finite = shares[torch.isfinite(shares)]
        return float(finite.max()) if finite.numel() else 0.0

    def _moved(self, out: torch.Tensor, ref: torch.Tensor) -> torch.Tensor:
        """How far `ref` must move at the least for the last rounding to give `out`."""
        next_power = 2.0 ** math.ceil(math.log2(self.fmt.largest))
        beyond = ref.abs().clamp(min=next_power) * out.sign()
        out = torch.where(torch.isinf(out), beyond, out)
        inward = torch.where(out.abs() > ref.abs(), out * (1 - 2.0**-30), out)  # side of ref
        return ((out - ref).abs() - truncation_error(inward, self.fmt)).clamp(min=0)


def fewest_wrong(masks: list[torch.Tensor]) -> int:
    """The way of rounding weights that a result agrees with best."""
    return min(range(len(masks)), key=lambda way: int(masks[way].sum()))


def note_of(masks: list[torch.Tensor]) -> str:
    """What to add where each element agrees with some way, and no way with all of them."""
    if len(masks) == 1 or torch.stack(masks).all(0).any() or not all(m.any() for m in masks):
        return ""
    return "; some elements agree with rounded weights alone, others with exact ones alone"


def _no_subnormals(value: torch.Tensor) -> torch.Tensor:
    """|value|, what float16 holds as a subnormal raised to its smallest normal number."""
    raised = value.abs().clamp(min=2.0**F16.smallest_exponent)
    return torch.where(value == 0, 0.0, raised)


def _standard_error(roundings: float, fmt: Format, magnitude: torch.Tensor) -> torch.Tensor:
    return roundings * (fmt.unit_roundoff * magnitude + fmt.smallest / 2)


def _nonfinite_masks(
    left: torch.Tensor, right: torch.Tensor, nan_right: torch.Tensor, bias: torch.Tensor | None
):
    """[M, J] each: NaN is due; some NaN or infinity is due; it is in the sum, not in the bias
    alone; its sign is settled in any order.
    """

    def spread(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        return rows.any(1, keepdim=True) | columns.any(0, keepdim=True)

    special_right = ~torch.isfinite(right)
    any_special = spread(~torch.isfinite(left), special_right)
    must_nan = spread(torch.isnan(left), nan_right)
    in_sum, settled = any_special, any_special & ~special_right.any(0, keepdim=True)
    if bias is not None:
        must_nan, any_special = must_nan | torch.isnan(bias), any_special | ~torch.isfinite(bias)
        settled = torch.where(torch.isfinite(bias), settled, ~in_sum)
    return must_nan, any_special, in_sum, settled


def machine_capability(device: str) -> int:
    """90 for sm_90; 0 for a CPU, where no tensor core truncates."""
    if not str(device).startswith("cuda"):
        return 0
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor
