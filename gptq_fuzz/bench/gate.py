"""When is a kernel slower than before? By rank tests, and by at least a tenth.

What is compared are ratios: the kernel's time over that of cuBLAS right after it, so that clocks
and temperatures, which move both, do not look like a change. A ratio above 1 is slower.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

ALPHA = 0.01  # chance of a rank test to see a difference between equal kernels
CHANGE = 1.10  # a smaller change of the median is not reported
LEAST_PAIRS = 20

SAME, SLOWER, FASTER, NOT_GATED = "same", "slower", "faster", "not gated"


class Judgement(NamedTuple):
    """What became of one point: its kind, median now over median before, and the test's p."""

    kind: str
    change: float
    p: float


def against_baseline(now: Sequence[float], before: Sequence[float]) -> Judgement:
    """Ratios of this run and of the baseline's, by Mann-Whitney's test, one-sided."""
    from scipy import stats  # here: importing it takes longer than all tests of a small run

    change = statistics.median(now) / statistics.median(before)
    side = "greater" if change > 1 else "less"
    _require_enough(now, before)
    return _judged(change, float(stats.mannwhitneyu(now, before, alternative=side).pvalue))


def against_commit(ratios: Sequence[float]) -> Judgement:
    """Pairs (this tree's time over the other's), by Wilcoxon's signed ranks, one-sided."""
    import numpy as np
    from scipy import stats

    _require_enough(ratios)
    change = statistics.median(ratios)
    logs = np.log(np.asarray(ratios))
    if not logs.any():
        return _judged(change, 1.0)
    side = "greater" if change > 1 else "less"
    return _judged(change, float(stats.wilcoxon(logs, alternative=side).pvalue))


def _judged(change: float, p: float) -> Judgement:
    if p < ALPHA and change >= CHANGE:
        return Judgement(SLOWER, change, p)
    if p < ALPHA and change <= 1 / CHANGE:
        return Judgement(FASTER, change, p)
    return Judgement(SAME, change, p)


def _require_enough(*samples: Sequence[float]) -> None:
    fewest = min(map(len, samples))
    if fewest < LEAST_PAIRS:
        raise ValueError(f"a comparison wants {LEAST_PAIRS} pairs or more, got {fewest}")
