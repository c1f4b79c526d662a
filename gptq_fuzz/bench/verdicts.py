"""What a run reports of a point that is slower or faster than before."""

from __future__ import annotations

import statistics
from typing import NamedTuple

from gptq_fuzz.bench import gate
from gptq_fuzz.bench.baseline import Baseline
from gptq_fuzz.bench.gate import Judgement
from gptq_fuzz.bench.record import US, Measured


class Gated(NamedTuple):
    """A judgement on one point, and the text of its report."""

    judgement: Judgement
    text: str


def by_baseline(kernel: str, line: str, measured: Measured, baseline: Baseline | str) -> Gated:
    """Against what was stored; NOT_GATED with the reason where nothing was."""
    if isinstance(baseline, str):
        return _not_gated(baseline)
    before = baseline.stored.get((kernel, line))
    if before is None:
        return _not_gated(f"not in {baseline.path}")
    judged = gate.against_baseline(measured.ratios, before.ratios)
    ratio, ratio_before = statistics.median(measured.ratios), statistics.median(before.ratios)
    now = f"{_us(measured.seconds):.4g} us, {ratio:.3g} of cuBLAS's time"
    then = f"{before.microseconds:.4g} us, {ratio_before:.3g} of it"
    lines = [
        _headline(kernel, line, judged, "the baseline"),
        f"now    {now}, launch config {measured.config}",
        f"before {then}, launch config {before.config}",
        f"baseline {baseline.describe()}",
    ]
    return Gated(judged, "\n".join(lines))


def by_commit(kernel: str, line: str, measured: Measured, other: str) -> Gated:
    """Against another commit, timed in turn with this tree."""
    judged = gate.against_commit(measured.ratios_to_other)
    lines = [
        _headline(kernel, line, judged, other),
        f"now    {_us(measured.seconds):.4g} us, launch config {measured.config}",
        f"before {_us(measured.other):.4g} us, launch config {measured.other_config}",
    ]
    return Gated(judged, "\n".join(lines))


def _not_gated(reason: str) -> Gated:
    return Gated(Judgement(gate.NOT_GATED, 1.0, 1.0), reason)


def _headline(kernel: str, line: str, judged: Judgement, other: str) -> str:
    text = f"{line} with {kernel} takes {judged.change:.3f} times as long as with {other}"
    suspicious = judged.kind == gate.FASTER
    hint = ": a change, or is less done than before?" if suspicious else ""
    return f"{judged.kind}: {text} (p = {judged.p:.1g}){hint}"


def _us(seconds: list[float]) -> float:
    return statistics.median(seconds) * US
