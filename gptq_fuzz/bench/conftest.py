"""What the benchmarks are given: each kernel of the run, and the points that are timed."""

from __future__ import annotations

from gptq_fuzz.bench.plugin import points_of
from gptq_fuzz.plugin.fixtures import backend, over_kernels

__all__ = ["backend"]


def pytest_generate_tests(metafunc):
    """(`backend`, `point`): each kernel on each problem that it promises to solve."""
    if "point" in metafunc.fixturenames:
        metafunc.parametrize(("backend", "point"), points_of(metafunc.config), indirect=["backend"])
    else:
        over_kernels(metafunc)
