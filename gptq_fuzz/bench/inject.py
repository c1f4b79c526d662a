"""Hands pytest-benchmark durations that were measured elsewhere, by a clock that shows them."""

from __future__ import annotations

from collections.abc import Sequence

_now = 0.0


def shown_time() -> float:
    """The timer of such a benchmark: `@pytest.mark.benchmark(timer=shown_time)`."""
    return _now


def inject(benchmark, seconds: Sequence[float]) -> None:
    """Make `seconds` the rounds of a benchmark whose timer is `shown_time`."""
    left = iter(seconds)

    def at_zero() -> None:
        global _now
        _now = 0.0

    def pass_time() -> None:
        global _now
        _now = next(left)

    benchmark.pedantic(pass_time, setup=at_zero, rounds=len(seconds))
