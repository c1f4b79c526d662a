"""What was judged, per kernel: values and pairs of every axis, triples where dispatchers branch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import combinations

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.axes import AXES, WHOLE_GROUP
from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.verdict import Verdict

JUDGED = frozenset(kinds.KINDS) - {kinds.SKIPPED}
DISPATCH = ("m", "n", "k", "bits", "group", "g_idx", "dtype")  # what kernels are chosen by
ROW_CLASSES = ("0", "1", "..15", "..63", "..255", "256..")
BINS = 14  # of error / bound
SIZE_CLASSES = ("one word", "..63", "..511", "512..")


def bin_of(used: float) -> int:
    """Of error / bound: 0 for none; the others double, up to [1/2, 1), then 1 and more."""
    return 0 if used <= 0 else min(max(BINS - 1 + math.floor(math.log2(used)), 1), BINS - 1)


def classes(case: Case) -> dict[str, str]:
    """Axis -> the value of `case`, sizes in classes."""
    found = {
        "m": str(case.m) if case.m < 2 else _size_class(case.m, (15, 63, 255)),
        "n": "one word" if case.n == case.unit else _size_class(case.n, (63, 511)),
        "k": "one word" if case.k == case.unit else _size_class(case.k, (63, 511)),
        "group": _group_class(case.group_size),
        "last group": "partial" if case.k % case.rows_per_group else "full",
    }
    found |= {axis.name: axis.word(getattr(case, axis.field)) for axis in AXES}
    chosen = dict(case.extra)
    return found | {f"token {name}": value for name, value in chosen.items()}


def pairs_of(case: Case) -> set[frozenset]:
    """Every pair of its values of two axes."""
    return {frozenset(pair) for pair in combinations(classes(case).items(), 2)}


def triples_of(case: Case) -> set[frozenset]:
    """Every triple of its values of the axes in DISPATCH."""
    named = classes(case)
    return {frozenset(t) for t in combinations([(axis, named[axis]) for axis in DISPATCH], 3)}


def _size_class(size: int, limits: tuple[int, ...]) -> str:
    for limit in limits:
        if size <= limit:
            return f"..{limit}"
    return f"{limits[-1] + 1}.."


def _group_class(size: int) -> str:
    return {WHOLE_GROUP: "all", 1: "1"}.get(size) or _size_class(size, (15, 63))


def axis_values(limits: Limits) -> dict[str, tuple[str, ...]]:
    """Axis -> the values that these limits name; see `pairwise.possible_values`."""
    groups = ("all", "1", "..15", "..63", "64..")
    if limits.group_sizes is not None:
        groups = tuple(dict.fromkeys(_group_class(size) for size in limits.group_sizes))
    found = {
        "m": ROW_CLASSES,
        "n": SIZE_CLASSES,
        "k": SIZE_CLASSES,
        "group": groups,
        "last group": ("full", "partial"),
    }
    met = limits.for_draws()
    found |= {axis.name: axis.words(met.of(axis)) for axis in AXES}
    found |= {f"token {token.name}": token.values for token in limits.tokens}
    return found


@dataclass
class Coverage:
    """Counts for one kernel; skipped cases count as skipped and cover nothing."""

    verdicts: Counter = field(default_factory=Counter)
    skips: Counter = field(default_factory=Counter)
    values: Counter = field(default_factory=Counter)
    pairs: set = field(default_factory=set)
    triples: set = field(default_factory=set)
    used: float = 0.0
    used_by: Case | None = None
    used_by_fill: dict[str, list[int]] = field(default_factory=dict)  # of what passed, by bin_of
    seconds: float = 0.0

    def add(self, case: Case, verdict: Verdict) -> None:
        """Count one verdict, and the values of its case."""
        self.count(verdict)
        if verdict.kind == kinds.SKIPPED:
            self.skips[verdict.message] += 1
            return
        if verdict.used > self.used:
            self.used, self.used_by = verdict.used, case
        if verdict.kind == kinds.PASS:
            counts = self.used_by_fill.setdefault(case.fill, [0] * BINS)
            counts[bin_of(verdict.used)] += 1
        if not case.bad:
            self.values.update(classes(case).items())
            self.pairs |= pairs_of(case)
            self.triples |= triples_of(case)

    def count(self, verdict: Verdict) -> None:
        """Count a verdict alone: on tensors that no case describes."""
        self.verdicts[verdict.kind] += 1
        self.seconds += verdict.seconds

    @property
    def judged(self) -> int:
        return sum(self.verdicts[kind] for kind in JUDGED)

    def missing_values(self, axes: dict[str, tuple[str, ...]]) -> list[str]:
        """`axis=value` for each of these values that no judged case had."""
        return [
            f"{axis}={value}"
            for axis, values in axes.items()
            for value in values
            if not self.values[axis, value]
        ]

    def missing(self, possible: Collection[frozenset]) -> list[str]:
        """`axis=value with axis=value` for each of these pairs, triples that no judged case had."""
        seen = self.pairs | self.triples
        missing = (sorted(together) for together in possible if together not in seen)
        return sorted(" with ".join(f"{axis}={value}" for axis, value in each) for each in missing)
