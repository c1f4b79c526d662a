"""The verdict on one case: a closed set, and what a report needs to know."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gptq_fuzz.case.case import Case

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
LEAKING = "LEAKING"
KNOWN = "KNOWN"
SKIPPED = "SKIPPED"
PASS = "PASS"
KINDS = (
    *(LOST, CRASHED, TIMED_OUT, FAILED_TO_REJECT, REJECTED, RAISED, WRONG_TYPE, OUT_OF_BOUNDS),
    *(INPUT_CHANGED, WRONG, NONDETERMINISTIC, STATE_LEAKED, LEAKING, KNOWN, SKIPPED, PASS),
)
# REJECTED is given for an input that had to be refused; a refusal of a legal one is RAISED.
RIGHT = frozenset({PASS, KNOWN, SKIPPED, REJECTED})
NOTHING = "no substitution that is known"  # where single weights were asked for
CONFIRMED = "confirmed"  # the check that no kernel has a part in
SLACK = 2.0**-20  # of error / bound: far more than its computation in float64 may be off
FATAL = frozenset({LOST, CRASHED, TIMED_OUT})  # the worker does not outlive these


# Of these the message is the explanation, of the others what explains the wrong values.
TELLING = frozenset(
    {LOST, CRASHED, FAILED_TO_REJECT, RAISED, WRONG_TYPE, OUT_OF_BOUNDS, INPUT_CHANGED}
)


def _numberless(text: str) -> str:
    return re.sub(r"[0-9.]+(, [0-9.]+)*", "#", text)


@dataclass
class Verdict:
    """What became of one case. `message`, `where` to `larger` are for its report.

    `case` is None for tensors that no case describes.
    """

    kind: str
    case: Case | None
    message: str = ""
    where: str = ""
    explained: str = ""  # the one substitution that gives the wrong value, where one does
    pattern: str = ""  # where single weights are wrong along m, k, n; or that none is
    hints: str = ""  # what else decides about it: surroundings of operands, other Numerics
    larger: str = ""  # the same of a larger problem: its line, what explains it, where it is
    asked: str = ""  # the line of the question that a relation asked, where it is another one
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

    @property
    def signature(self) -> tuple[str, str]:
        """The same for failures of one kind and explanation, but for the numbers in that.

        Where nothing explains it, the check that failed stands in its place.
        """
        explanation = self.message if self.kind in TELLING else self.explained
        return self.kind, _numberless(explanation) or self.check

    @property
    def looks(self) -> tuple[str, str, str]:
        """The signature and the kind of place: what is known before a failure is made small."""
        return *self.signature, _numberless(self.where)

    def contradiction(self) -> str:
        """Why no worker can mean it; "" where it can: one that passes has nothing wrong in it."""
        if self.kind == KNOWN:
            return "KNOWN was answered, which is not a worker's to say"
        is_right = self.used <= 1 + SLACK and not self.ratio and not self.wrong_runs
        if self.kind != PASS or is_right:
            return ""
        figures = f"{self.wrong_runs} wrong calls, error / bound {self.ratio or self.used:.3g}"
        return f"PASS was answered, and {figures}"

    def headline(self) -> str:
        """`WRONG: 8 of 136 elements; worst ...`"""
        kind = self.kind
        if kind == NONDETERMINISTIC:
            kind += f" ({self.wrong_runs} of {self.runs} calls)"
        return f"{kind}: {self.message}" if self.message else kind

    def __str__(self) -> str:
        """The headline, and what is known of the wrong elements, a line each."""
        lines = [self.headline()]
        lines += [f"where: {self.where}"] * bool(self.where)
        explained = self.explained or NOTHING
        lines += [f"explained by {explained}"] * bool(self.explained or self.pattern)
        lines += [f"pattern: {self.pattern}"] * bool(self.pattern)
        lines += [f"hint: {self.hints}"] * bool(self.hints)
        return "\n".join(lines + [f"in {self.larger}"] * bool(self.larger))

    @property
    def line(self) -> str:
        return "" if self.case is None else str(self.case)

    def to_json(self) -> dict:
        """Plain values; the case as its line."""
        plain = {name: value for name, value in vars(self).items() if name != "case"}
        return {"line": self.line, **plain}

    @classmethod
    def from_json(cls, data: dict, case: Case | None) -> Verdict:
        """What `to_json` gave, on the case that was asked about."""
        return cls(case=case, **{name: value for name, value in data.items() if name != "line"})
