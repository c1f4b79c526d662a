"""What one pytest run holds: the kernels under test, and why others are not in it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gptq_fuzz.case.known import Waiver
from gptq_fuzz.fingerprint.store import FingerprintFile
from gptq_fuzz.plugin.in_flight import InFlight
from gptq_fuzz.search.findings import Finding
from gptq_fuzz.search.kernel import KernelUnderTest


@dataclass
class Session:
    """The kernels of one run, and why others are not in it."""

    in_flight: InFlight
    kernels: dict[str, KernelUnderTest] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    waivers: list[Waiver] = field(default_factory=list)
    json_path: Path | None = None
    store: Any = None  # of --store, see store/
    known: list = field(default_factory=list)  # findings that it holds
    base_seed: int | None = None
    fingerprints: dict[str, FingerprintFile] = field(default_factory=dict)  # by kernel
    collected_at: float | None = None  # time.monotonic() when the tests were known
    started: list[KernelUnderTest] = field(default_factory=list)  # also those that did not load
    left_behind: list[str] = field(default_factory=list)  # by runs that did not end
    of_xdist: list[int] = field(default_factory=list)  # processes of its workers
    broken_off: list[str] = field(default_factory=list)  # what was judged when a signal came
    undo: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    was_interrupted: bool = False  # by a signal
    report: dict = field(default_factory=dict)  # of all workers, once the tests are done
    unwritten: str = ""  # why --json was not
    shortfall: str = ""  # why what was judged is too little for a success

    def stop(self) -> None:
        for kernel in self.started:
            kernel.worker.stop()

    def close(self) -> None:
        """End all workers, and leave nothing behind."""
        self.stop()
        self.undo.close()
        self.in_flight.close()

    def since_collection(self, at: float | None) -> float | None:
        """Seconds from the end of collection to a time.monotonic()."""
        return None if None in (at, self.collected_at) else at - self.collected_at

    def findings(self) -> list[Finding]:
        return [finding for kernel in self.kernels.values() for finding in kernel.findings]


SESSION = pytest.StashKey[Session]()  # where a run's config keeps it
