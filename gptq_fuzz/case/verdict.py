"""The verdict on one case: a closed set, and what a report needs to know."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

LOST = "LOST"
CRASHED = "CRASHED"
TIMED_OUT = "TIMED_OUT"
FAILED_TO_REJECT = "FAILED_TO_REJECT"
REJECTED = "REJECTED"
RAISED = "RAISED"
WRONG_TYPE = "WRONG_TYPE"
OUT_OF_BOUNDS = "OUT_OF_BOUNDS"
INPUT_CHANGED = "INPUT_CHANGED"
WRONG = "WRONG"
NONDETERMINISTIC = "NONDETERMINISTIC"
STATE_LEAKED = "STATE_LEAKED"
KNOWN = "KNOWN"
SKIPPED = "SKIPPED"
PASS = "PASS"
KINDS = (
    LOST,
    CRASHED,
    TIMED_OUT,
    FAILED_TO_REJECT,
    REJECTED,
    RAISED,
    WRONG_TYPE,
    OUT_OF_BOUNDS,
    INPUT_CHANGED,
    WRONG,
    NONDETERMINISTIC,
    STATE_LEAKED,
    KNOWN,
    SKIPPED,
    PASS,
)
# REJECTED is given for an input that had to be refused; a refusal of a legal one is RAISED.
RIGHT = frozenset({PASS, KNOWN, SKIPPED, REJECTED})
FATAL = frozenset({LOST, CRASHED, TIMED_OUT})  # the worker does not outlive these


@dataclass
class Verdict:
    """What became of one case. `message`, `where`, `explained` are what a report says of it."""

    kind: str
    line: str
    message: str = ""
    where: str = ""
    explained: str = ""  # the one substitution that gives the wrong value, where one does
    pattern: str = ""  # where single weights are wrong along m, k, n; or that none is
    check: str = "value"  # the check that decided: "value", "decoy", a relation's name, ...
    used: float = 0.0  # largest error / bound, last rounding left out
    ratio: float = 0.0  # of a wrong value: largest error / bound, last rounding included
    wrong_runs: int = 0
    runs: int = 1
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"verdict must be one of {', '.join(KINDS)}, not {self.kind!r}")

    @property
    def ok(self) -> bool:
        return self.kind in RIGHT

    def headline(self) -> str:
        """`WRONG: 8 of 136 elements; worst ...`"""
        kind = self.kind
        if kind == NONDETERMINISTIC:
            kind += f" ({self.wrong_runs} of {self.runs} calls)"
        return f"{kind}: {self.message}" if self.message else kind

    def to_json(self) -> dict:
        return dataclasses.asdict(self)
