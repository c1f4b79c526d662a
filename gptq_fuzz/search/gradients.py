"""Sizes of the gradient: those of the sweep, N and K having changed places.

The sum of a gradient runs over N, its columns are K: what a kernel cuts K into, and what it does
behind whole tiles of N, it does there the other way round, in code of its own.
"""

from __future__ import annotations

from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.series import FIRST, must_pass_series
from gptq_fuzz.search.sweep import LONG, choose, sweep

SERIES = "gradients"
SECONDS, SECONDS_OF_A_SLOW_ONE = 6.0, 3.0
DEAREST = 2**18  # elements of weights, of what is summed and of the result
TURNED = ("K", "N", "tails", "roundings")  # dimensions of the sweep


def gradient_cases(limits: Limits, seed: int = 0) -> list[Case]:
    """Each size once, in one number of bits, those with a long sum or many columns first; none
    where no gradient is promised.
    """
    alike: dict[tuple, list[Case]] = {}
    for name in TURNED if limits.backward else ():
        for case in sweep(name, limits, seed, is_wide=name == "tails"):
            turned = _turned(limits, case)
            sizes = turned.m, turned.n, turned.k, turned.fill
            if case.m * (case.n + case.k) + case.n * case.k <= DEAREST:
                alike.setdefault(sizes, []).append(turned)
    found = [choose(cases, f"{SERIES} {sizes}", "bits") for sizes, cases in alike.items()]
    found = [case for case in found if not limits.violations(case)]
    return sorted(found, key=lambda case: not _is_long(case))


def must_pass_gradients(kernel: KernelUnderTest, seed: int, of_time: float = 1.0) -> None:
    """Judge them for as long as there is time. Raises Failure."""
    cases = gradient_cases(kernel.limits, seed)
    must_pass_series(
        kernel,
        SERIES,
        cases,
        of_time * (SECONDS_OF_A_SLOW_ONE if kernel.is_slow else SECONDS),
        seed,
        first=FIRST if kernel.is_slow else sum(map(_is_long, cases)),
    )


def _turned(limits: Limits, case: Case) -> Case:
    _, unit_n, unit_k = limits.units(case.unit)
    n, k = -(-case.k // unit_n) * unit_n, -(-case.n // unit_k) * unit_k
    fields = vars(case) | {"n": n, "k": k, "backward": True, "bias": False, "out": False}
    return Case(**limits.fitted(fields))


def _is_long(case: Case) -> bool:
    return max(case.n, case.k) >= LONG
