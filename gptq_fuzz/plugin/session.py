"""What one pytest run holds: the kernels under test, and why others are not in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gptq_fuzz.case.known import Waiver
from gptq_fuzz.fingerprint.store import FingerprintFile
from gptq_fuzz.search.findings import Finding
from gptq_fuzz.search.kernel import KernelUnderTest


@dataclass
class Session:
    """The kernels of one run, and why others are not in it."""

    kernels: dict[str, KernelUnderTest] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    waivers: list[Waiver] = field(default_factory=list)
    json_path: Path | None = None
    base_seed: int | None = None
    fingerprints: dict[str, FingerprintFile] = field(default_factory=dict)  # by kernel
    collected_at: float | None = None  # time.monotonic() when the tests were known

    def stop(self) -> None:
        for kernel in self.kernels.values():
            kernel.worker.stop()

    @property
    def judged(self) -> int:
        return sum(kernel.coverage.judged for kernel in self.kernels.values())

    def since_collection(self, at: float | None) -> float | None:
        """Seconds from the end of collection to a time.monotonic()."""
        return None if None in (at, self.collected_at) else at - self.collected_at

    def findings(self) -> list[Finding]:
        return [finding for kernel in self.kernels.values() for finding in kernel.findings]

    def complaints(self) -> list[str]:
        """Waivers that no longer hold."""
        return [text for waiver in self.waivers if (text := waiver.complaint())]


SESSION = pytest.StashKey[Session]()  # where a run's config keeps it
