"""What one stage said about one mutant."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outcome:
    """`verdict` "" where nothing was noticed; `where` is a Case line or a test."""

    stage: str
    verdict: str = ""  # of the suite, or FAILED, TIMED_OUT, CRASHED
    check: str = ""  # which of the suite's checks, or the fill that it saw it with
    where: str = ""
    message: str = ""
    seconds: float = 0.0  # on the clock
    cpu: float = 0.0  # seconds of processor time, which other work on the machine leaves alone
    notes: list[dict] = field(default_factory=list)  # what a stage tells beside its verdict

    @property
    def killed(self) -> bool:
        return bool(self.verdict)
