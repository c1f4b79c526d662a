"""What one run of the benchmarks holds: device, stopwatches, baseline, what was measured."""

from __future__ import annotations

import functools
from pathlib import Path

from gptq_fuzz.bench import device as devices
from gptq_fuzz.bench.against import Checkout
from gptq_fuzz.bench.baseline import Baseline, find
from gptq_fuzz.bench.device import interleaved
from gptq_fuzz.bench.machine import describe, folder_name
from gptq_fuzz.bench.peers import CUBLAS
from gptq_fuzz.bench.points import layer, points, variant
from gptq_fuzz.bench.record import Measured, facts
from gptq_fuzz.bench.remote import TREE, Remote
from gptq_fuzz.bench.stopwatch import Stopwatch
from gptq_fuzz.bench.verdicts import Gated, by_baseline, by_commit
from gptq_fuzz.case.case import Case

PAIRS_WITHOUT_GPU = 2  # the bodies are run; these times decide nothing
NO_GPU = "times without a GPU are not compared"


class Run:
    """`option` holds pytest's: device, points, pairs, baseline, against."""

    def __init__(self, option):
        self.option = option
        self.device = devices.open_device(option.gptq_fuzz_device)
        self.about = describe(self.device)
        self.facts: list[dict] = []
        self.gated: list[tuple[str, str, Gated]] = []  # kernel, line, what became of it
        self.left_out: dict[str, str] = {}  # peers that did not run, and why
        self._remotes: list[Remote] = []
        self._checkout = Checkout(TREE, option.against) if option.against else None

    @property
    def folder(self) -> str:
        """The name that this machine has among baselines and results."""
        return folder_name(self.about)

    @property
    def pairs(self) -> int:
        return self.option.pairs if self.device.is_gpu else PAIRS_WITHOUT_GPU

    def points(self) -> list[Case]:
        """What this run measures."""
        return points(self.option.points, self.device.full_size)

    @functools.cached_property
    def stopwatch(self) -> Stopwatch:
        return Stopwatch(self.device)

    @functools.cached_property
    def baseline(self) -> Baseline | str:
        """Raises WrongBaseline for a file that cannot serve."""
        if not self.device.is_gpu:
            return NO_GPU
        if self.option.baseline == "none":
            return "--baseline none"
        return find(Path(self.option.baseline), self.about)

    def measure(self, spec: str, started_in: str, case: Case) -> Measured:
        """Time a kernel; in turn with cuBLAS and, given --against, the other commit."""
        if self._checkout:
            return self._measure_both(spec, started_in, case)
        prepared = self.stopwatch.prepare(spec, started_in, case)
        cublas = self.stopwatch.cublas(case)
        samples = interleaved([prepared.lap, cublas], self.pairs)
        peers, left_out = self.stopwatch.peers(case)
        self.left_out |= left_out
        config, error = prepared.config, prepared.relative_error
        way = prepared.lap.way
        seconds = samples[spec]
        return Measured(seconds, samples[CUBLAS], config, way, error, peers, left_out)

    def _measure_both(self, spec: str, started_in: str, case: Case) -> Measured:
        if not self._remotes:
            options = {"device": self.device.place, "ceilings": self.stopwatch.ceilings}
            self._remotes = [Remote(tree, options) for tree in (TREE, self._checkout.tree)]
        ours, theirs = self._remotes
        now, before = (one.prepare(spec, started_in, str(case)) for one in (ours, theirs))
        names = {"now": ours, "before": theirs}
        laps = [one.lap(name, "kernel") for name, one in names.items()]
        samples = interleaved([*laps, ours.lap(CUBLAS, "cublas")], self.pairs)
        return Measured(
            samples["now"],
            samples[CUBLAS],
            now["config"],
            now["way"],
            now["relative_error"],
            other=samples["before"],
            other_config=before["config"],
        )

    def host_call(self, spec: str, started_in: str, case: Case):
        """(a warm call of a layer, what waits for the device)."""
        return self.stopwatch.host_call(spec, started_in, case), self.device.synchronize

    @staticmethod
    def group_of(case: Case) -> str:
        """The table of pytest-benchmark that a point is shown in."""
        return f"{variant(case)} {layer(case)}"

    def keep(self, spec: str, case: Case, measured: Measured, used: float) -> dict:
        """The facts of a point, kept for the end of the run."""
        self.facts.append(facts(spec, case, measured, used, self.stopwatch.ceilings))
        return self.facts[-1]

    def judge(self, spec: str, case: Case, measured: Measured) -> Gated:
        """Slower, faster or the same as before; or not gated, and why."""
        if self._checkout and self.device.is_gpu:
            gated = by_commit(spec, str(case), measured, self._checkout.name)
        else:
            gated = by_baseline(spec, str(case), measured, self.baseline)
        self.gated.append((spec, str(case), gated))
        return gated

    def close(self) -> None:
        """Nothing of another commit stays."""
        for remote in self._remotes:
            remote.stop()
        self._remotes = []
        if self._checkout:
            self._checkout.remove()
            self._checkout = None
