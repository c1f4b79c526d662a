"""One substitution that explains every wrong value: which code, zero-point or scale was used.

Possible where a row of x has one non-zero, so that an output is a single product. A substitution is
named only if it gives each of several wrong values, with different data; if two do, both are named.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from gptq_fuzz.case.axes import FRACTIONS
from gptq_fuzz.case.case import Case
from gptq_fuzz.oracle.judge import Mismatch
from gptq_fuzz.problem.fills import Values
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.problem.philox import random_words
from gptq_fuzz.problem.rounding import BF16, FORMATS, round_to

ENOUGH = 4  # wrong weights that must agree; one may fit any of some thousand substitutions
MOSTLY = 0.75  # of them: where a neighbour would lie outside, a kernel reads anything
MOST = 256  # wrong values that are looked at
FARTHEST = 130  # rows, columns or groups away up to which each substitute is looked for
FARTHER = tuple(2**power for power in range(8, 16))  # beyond that, these and their neighbours
WIDTHS = (4, 8, 16)  # bits of a type that a difference of codes may be held in
LISTED = 4  # places whose substitute is the same that are listed one by one
NAMED = 3  # substitutions that are named where the data do not tell them apart
TILES = (16, 32, 64, 128)
STACKED = ("codes", "zeros", "g_idx", "scales")


@dataclass
class Wrong:
    """Wrong products, one entry each: E of them, of one or several problems of the same shape."""

    case: Case
    values: list[Values]
    problem: torch.Tensor  # [E] which of `values`
    row: torch.Tensor  # of x
    k: torch.Tensor
    n: torch.Tensor
    x: torch.Tensor  # the one non-zero of the row
    out: torch.Tensor
    rows_k: torch.Tensor  # [E, M] the k of the one non-zero of each row of the same call

    def __len__(self) -> int:
        return len(self.out)

    @functools.cached_property
    def _stacks(self) -> dict[str, torch.Tensor]:
        return {name: torch.stack([getattr(v, name) for v in self.values]) for name in STACKED}

    def look_up(self, name: str, *places: torch.Tensor) -> torch.Tensor:
        """An operand of each entry's problem at these places, [E] or [S, E]."""
        return self._stacks[name][(self.problem.expand(places[0].shape), *places)]

    @functools.cached_property
    def group(self) -> torch.Tensor:
        return self.look_up("g_idx", self.k)

    @functools.cached_property
    def own(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Code, zero-point and scale that are due."""
        codes = self.look_up("codes", self.k, self.n)
        zeros, scales = (self.look_up(name, self.group, self.n) for name in ("zeros", "scales"))
        return codes, zeros, scales

    def weight(self, k: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        """The weight that lies at other places of the same problem."""
        group = self.look_up("g_idx", k)
        zeros, scales = (self.look_up(name, group, n) for name in ("zeros", "scales"))
        return (self.look_up("codes", k, n) - zeros) * scales

    @classmethod
    def joined(cls, parts: list[Wrong]) -> Wrong:
        """The entries of all, some of them where there are many; `values` are those of the last.

        Parts hold the same list of values, which may have grown from one to the next.
        """
        names = ("problem", "row", "k", "n", "x", "out", "rows_k")
        whole = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
        # At random: every second entry of a result may lie in even columns alone.
        words, _ = random_words(0, "rows", len(whole["out"]), 1, "cpu")
        some = words.flatten().argsort()[:MOST]
        chosen = {name: tensor[some] for name, tensor in whole.items()}
        return cls(parts[-1].case, parts[-1].values, **chosen)


def wrong_products(mismatch: Mismatch, operands: Operands, values: list[Values]) -> Wrong:
    """The wrong elements of a result whose rows of x have one non-zero; `values` end with its."""
    left, case = operands.values.left.cpu(), operands.case
    row, column = mismatch.wrong.cpu().nonzero().T
    chosen = left.abs().argmax(1)
    place = chosen[row]
    k, n = (column, place) if case.backward else (place, column)
    problem = torch.full_like(row, len(values) - 1)
    x, out = left[row, place], mismatch.out.cpu()[row, column]
    return Wrong(case, values, problem, row, k, n, x, out, chosen.expand(len(row), -1))


def explain(mismatch: Mismatch, operands: Operands) -> str:
    """What explains the wrong elements of one result; "" too where it is no single products."""
    case = operands.case
    if case.fill not in ("onehot", "lanes") or case.bias or case.zeros == FRACTIONS:
        return ""
    values = operands.values
    parts = {name: getattr(values, name).cpu() for name in (*STACKED, "left")}
    return explanation(
        Wrong.joined([wrong_products(mismatch, operands, [Values(**parts, bias=None)])])
    )


def explanation(wrong: Wrong) -> str:
    """`the scale of group 0 for group 3`, all that fit joined by "or"; "" where none does."""
    places = torch.stack([wrong.problem, wrong.k, wrong.n])
    if places.unique(dim=1).shape[1] < ENOUGH:
        return ""
    if not torch.isfinite(wrong.out).all():
        return ""
    fitting: dict[tuple, str] = {}
    for family in substitutions(wrong):
        for place in _giving(wrong, family.weights).nonzero().flatten().tolist():
            sources = tuple(family.sources[place].tolist())
            # Of a group whose zero-points are the same, the scale alone is all that is certain.
            implied = family.is_whole and any(key[1] == sources for key in fitting)
            if (family.one, sources) not in fitting and not implied:
                fitting[family.one, sources] = family.words(place)
    return ", or ".join(fitting.values()) if len(fitting) <= NAMED else ""


def _giving(wrong: Wrong, weights: torch.Tensor) -> torch.Tensor:
    """[S]: whether they give every wrong value; rounded once to x's dtype or not at all."""
    fmt = FORMATS[wrong.case.dtype]
    same = round_to(wrong.x * weights, fmt) == wrong.out
    same |= round_to(wrong.x * round_to(weights, fmt), fmt) == wrong.out
    beyond = torch.isnan(weights)
    inside = (~beyond).sum(1)
    return (same | beyond).all(1) & (inside >= max(ENOUGH, MOSTLY * len(wrong)))


@dataclass
class Family:
    """Substitutions of one kind: what was used in place of what, and the weights that they give."""

    one: str  # "the scale of "
    noun: str  # "group "; "" where the rule is all there is
    rules: list[str]  # [S] "the group 1 before": what all entries have in common
    own: torch.Tensor  # [E]
    sources: torch.Tensor  # [S, E]
    weights: torch.Tensor  # [S, E]
    is_whole: bool = False  # several operands at a time

    def words(self, place: int) -> str:
        """The numbers where there is one pair of them, else what the entries have in common."""
        taken, due = self.sources[place].unique().tolist(), self.own.unique().tolist()
        if not self.noun or len(taken) > 1:
            return self.one + self.rules[place]
        listed = ", ".join(f"{number:g}" for number in due) if len(due) <= LISTED else "others"
        many = "s" if len(due) > 1 and self.noun != "k " else ""
        noun = f"{self.noun.strip()}{many} " if self.one and listed != "others" else ""
        return f"{self.one}{self.noun}{taken[0]:g} for {noun}{listed}"


def substitutions(wrong: Wrong) -> Iterator[Family]:
    """Everything that is tried, the likelier first, parts before wholes."""
    yield from _numbers(wrong)
    yield from _groups(wrong)
    yield from _rows(wrong)
    yield from _columns(wrong)
    yield _results(wrong)


def _numbers(wrong: Wrong) -> Iterator[Family]:
    (q, z, s), steps = wrong.own, wrong.case.maxq + 1
    half = steps // 2
    zeros = {
        "one higher": z + 1,
        "one lower": z - 1,
        "one higher, wrapped": (z + 1) % steps,
        "one lower, wrapped": (z - 1) % steps,
        "not wrapped": torch.where(z == 0, z + steps, z),
        "doubled": 2 * z,
        "left out": 0 * z,
        "in the middle": 0 * z + half,
        "as signed numbers": torch.where(z >= half, z - steps, z),
        "of at least 1": z.clamp(min=1),
    }
    codes = {
        "as signed numbers": torch.where(q >= half, q - steps, q),
        "without their top bit": q % half,
        "without their lowest bit": q // 2 * 2,
        "cut to the top but one": q.clamp(max=steps - 2),
        "of 0": 0 * q,
        "turned round": steps - 1 - q,
    }
    scales = {
        "rounded to bfloat16": round_to(s, BF16),
        "of 1": torch.ones_like(s),
        "without their sign": s.abs(),
        "halved": s / 2,
        "doubled": s * 2,
    }
    for noun, due, uses, weight in (
        ("zero-point", z, zeros, lambda used: (q - used) * s),
        ("code", q, codes, lambda used: (used - z) * s),
        ("scale", s, scales, lambda used: (q - z) * used),
    ):
        used = torch.stack(list(uses.values()))
        yield Family("", f"{noun} ", [f"{noun}s {rule}" for rule in uses], due, used, weight(used))


def _groups(wrong: Wrong) -> Iterator[Family]:
    case, k = wrong.case, wrong.k
    (q, z, s), g_idx = wrong.own, functools.partial(wrong.look_up, "g_idx")
    maps = {
        **_groups_by_number(k, case),
        "the group of the row before": g_idx((k - 1).clamp(min=0)),
        "the group of the row after": g_idx((k + 1).clamp(max=case.k - 1)),
    } | {f"the group of the first of each {side} rows": g_idx(k // side * side) for side in TILES}
    rules, sources = _candidates(wrong.group, case.groups, "group", maps)
    inside, beyond = _inside(sources, case.groups)
    n = wrong.n.expand(inside.shape)
    zero, scale = (wrong.look_up(name, inside, n) for name in ("zeros", "scales"))
    for one, weight in {
        "the scale of ": (q - z) * scale,
        "the zero-point of ": (q - zero) * s,
        "": (q - zero) * scale,
    }.items():
        yield Family(one, "group ", rules, wrong.group, sources, weight + beyond, not one)


def _groups_by_number(k: torch.Tensor, case: Case) -> dict[str, torch.Tensor]:
    """The groups that kernels compute from k, where they should have looked into g_idx."""
    size, groups = min(case.rows_per_group, case.k), case.groups
    below = 1 << (size.bit_length() - 1)
    above = "twice" if below == size else "a power of two above"
    sides = {
        f"{below}, a power of two below the group size": below,
        f"{2 * below}, {above} the group size": 2 * below,
        f"{case.unit}, the codes of a word": case.unit,
        f"{case.k // groups}, all rows by the number of groups": max(case.k // groups, 1),
    }
    maps = {"group k // group size": k // size}
    for words, side in sides.items():
        if side != size and -(-case.k // side) > 1:
            maps[f"group k // {words}"] = (k // side).clamp(max=groups - 1)
    return maps | {
        f"group k % {groups}": k % groups,
        "group k, or the last": k.clamp(max=groups - 1),
    }


def _rows(wrong: Wrong) -> Iterator[Family]:
    case, (_, z, s) = wrong.case, wrong.own
    rules, sources = _candidates(wrong.row, case.m, "row", {})
    if rules:
        inside, beyond = _inside(sources, case.m)
        k = wrong.rows_k.T.gather(0, inside)
        weights = wrong.weight(k, wrong.n.expand(k.shape)) + beyond
        yield Family("x of ", "row ", rules, wrong.row, sources, weights)
    rules, sources = _candidates(wrong.k, case.k, "k", _in_words(wrong.k, case, "k"))
    inside, beyond = _inside(sources, case.k)
    n = wrong.n.expand(inside.shape)
    code = wrong.look_up("codes", inside, n)
    yield Family("the code of ", "k ", rules, wrong.k, sources, (code - z) * s + beyond)
    whole = wrong.weight(inside, n) + beyond
    yield Family("the weight of ", "k ", rules, wrong.k, sources, whole, True)
    yield _lanes(wrong)


def _lanes(wrong: Wrong) -> Family:
    """The code of another k in a column beside: a lane takes what its neighbour unpacked."""
    case, (_, z, s) = wrong.case, wrong.own
    fields = {"k 1 after": wrong.k + 1, "k 1 before": wrong.k - 1}
    fields |= _in_words(wrong.k, case, "k")
    rules, sources, weights = [], [], []
    for side, words in ((1, "after"), (-1, "before")):
        n, beyond_n = _inside(wrong.n + side, case.n)
        for rule, k in fields.items():
            k, beyond_k = _inside(k, case.k)
            rules.append(f"{rule} in the column 1 {words}")
            sources.append(k * case.n + n)
            weights.append((wrong.look_up("codes", k, n) - z) * s + beyond_k + beyond_n)
    own = wrong.k * case.n + wrong.n
    return Family("the code of ", "", rules, own, torch.stack(sources), torch.stack(weights))


def _columns(wrong: Wrong) -> Iterator[Family]:
    case, (q, z, s) = wrong.case, wrong.own
    rules, sources = _candidates(wrong.n, case.n, "column", _in_words(wrong.n, case, "n"))
    inside, beyond = _inside(sources, case.n)
    code = wrong.look_up("codes", wrong.k.expand(inside.shape), inside)
    group = wrong.group.expand(inside.shape)
    zero, scale = (wrong.look_up(name, group, inside) for name in ("zeros", "scales"))
    for one, weight in {
        "the code of ": (code - z) * s,
        "the zero-point of ": (q - zero) * s,
        "the scale of ": (q - z) * scale,
        "": (code - zero) * scale,
    }.items():
        yield Family(one, "column ", rules, wrong.n, sources, weight + beyond, not one)


def _results(wrong: Wrong) -> Family:
    q, z, s = wrong.own
    weight = (q - z) * s
    uses = {rule: used * s for rule, used in _narrow(q - z, wrong.case.bits).items()} | {
        "the product left out": 0 * weight,
        "the product counted twice": 2 * weight,
        "the product negated": -weight,
        "the code alone, without zero-point and scale": q.double(),
        "the code less its zero-point, without the scale": (q - z).double(),
    }
    weights = torch.stack(list(uses.values()))
    return Family("", "", list(uses), weight, weights, weights)


def _narrow(difference: torch.Tensor, bits: int) -> dict[str, torch.Tensor]:
    """Code less zero-point as types hold it that have no room for all of them."""
    held = {"the zero-point subtracted without a sign, cut at 0": difference.clamp(min=0)}
    for width in sorted({bits, *WIDTHS}):
        steps, half = 2**width, 2 ** (width - 1)
        unsigned, signed = difference % steps, (difference + half) % steps - half
        held[f"the zero-point subtracted in {width} bits without a sign"] = unsigned
        if width <= bits:  # a wider one holds all
            held[f"the zero-point subtracted in {width} bits with a sign"] = signed
            cut = difference.clamp(-half, half - 1)
            held[f"the zero-point subtracted in {width} bits with a sign, saturated"] = cut
    return held


def _in_words(own: torch.Tensor, case: Case, axis: str) -> dict[str, torch.Tensor]:
    word = case.unit
    maps = {f"{axis} ^ {bit}": own ^ bit for bit in (1, 2, 4, 8)}
    maps[f"{axis} counted backwards in each word"] = own // word * word + word - 1 - own % word
    maps[f"the same field of the first word of {axis}"] = own % word
    first, field = own // word * word, own % word
    half = word // 2
    for far, side in ((1, "next"), (-1, "last")):
        maps[f"the {side} field of the same word of {axis}"] = first + (field + far) % word
    maps[f"{axis} with even fields first in each word"] = first + field % half * 2 + field // half
    maps[f"{axis} with halves interleaved in each word"] = first + field // 2 + field % 2 * half
    return maps


def _candidates(own: torch.Tensor, count: int, noun: str, maps: dict) -> tuple[list, torch.Tensor]:
    """Rules and [S, E] places: those of `maps`; so far away, either way; the same one for all."""
    for far in range(1, min(count, FARTHEST)):
        maps[f"the {noun} {far} after"] = own + far
        maps[f"the {noun} {far} before"] = own - far
    farther = [far + side for far in FARTHER for side in (-1, 0, 1) if far + side < count]
    for far in farther:
        maps[f"the {noun} {far} after"] = own + far
        maps[f"the {noun} {far} before"] = own - far
    places = [*range(min(count, FARTHEST)), *farther, count - 2, count - 1] if count > 1 else []
    for place in dict.fromkeys(places):
        maps[f"{noun} {place}"] = torch.full_like(own, place)
    return list(maps), torch.stack(list(maps.values())) if maps else own.new_empty(0, len(own))


def _inside(sources: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Places that exist, and what makes a weight NaN where one does not: no value is due there."""
    inside = sources.clamp(min=0, max=count - 1)
    return inside, torch.where(inside == sources, 0.0, torch.nan).double()
