"""One measured point as plain values: what is stored, printed, drawn and compared."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from gptq_fuzz.bench.bound import Ceilings, bound_us, operations, packed_bytes
from gptq_fuzz.bench.peers import CUBLAS
from gptq_fuzz.bench.points import layer, variant
from gptq_fuzz.case.case import Case

DIGITS = 6  # of a stored ratio
US = 1e6  # microseconds in a second


@dataclass(frozen=True)
class Measured:
    """Samples in seconds per call, in the order in which they were taken."""

    seconds: list[float]
    cublas: list[float]
    config: str
    way: str
    relative_error: float
    peers: dict[str, float] = field(default_factory=dict)  # name -> microseconds
    left_out: dict[str, str] = field(default_factory=dict)  # name -> why
    other: list[float] = field(default_factory=list)  # of the commit of --against
    other_config: str = ""

    @property
    def ratios(self) -> list[float]:
        """This kernel's time over cuBLAS's right after it."""
        return _ratios(self.seconds, self.cublas)

    @property
    def ratios_to_other(self) -> list[float]:
        """This tree's time over the other commit's right after it."""
        return _ratios(self.seconds, self.other)


def _ratios(left: list[float], right: list[float]) -> list[float]:
    return [float(f"{a / b:.{DIGITS}g}") for a, b in zip(left, right, strict=True)]


def facts(kernel: str, case: Case, measured: Measured, used: float, ceilings: Ceilings) -> dict:
    """`extra_info` of a benchmark; `used` is the largest error / bound of its verdict."""
    seconds = statistics.median(measured.seconds)
    us, least = seconds * US, bound_us(case, ceilings)
    cublas_us = statistics.median(measured.cublas) * US
    return {
        "kernel": kernel,
        "case": str(case),
        "variant": variant(case),
        "layer": layer(case),
        "m": case.m,
        "config": measured.config,
        "timed_by": measured.way,
        "us": _short(us),
        "tflops": _short(operations(case) / seconds / 1e12),
        "packed_gb_per_s": _short(packed_bytes(case) / seconds / 1e9),
        "bound_us": _short(least),
        "share_of_bound": _short(least / us),
        "speedup_over_cublas": _short(cublas_us / us),
        "error_over_bound": _short(used),
        "relative_error": _short(measured.relative_error),
        "peers": {name: _short(one) for name, one in {CUBLAS: cublas_us, **measured.peers}.items()},
        "left_out": measured.left_out,
        "ratios": measured.ratios,
    }


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def points_of(data: dict) -> list[dict]:
    """The facts of all points in pytest-benchmark's JSON."""
    facts_of_all = (one["extra_info"] for one in data["benchmarks"])
    return [one for one in facts_of_all if "share_of_bound" in one]
