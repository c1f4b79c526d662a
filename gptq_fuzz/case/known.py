"""The known-failures file: waivers that name their issue, and that must still fail.

A line is `KERNEL TOKENS #ISSUE`, for example `triton b2-act #12 two bits with act-order`; it covers
every case of that kernel whose line has all those tokens. KERNEL may hold spaces.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.verdict import Verdict

_LINE = re.compile(r"(?P<kernel>.+?)\s+(?P<tokens>\S+)\s+(?P<issue>#\d+)(\s.*)?")


@dataclass
class Waiver:
    """One line of the file, and how often it met a failure or a pass."""

    kernel: str
    tokens: frozenset[str]
    issue: str
    text: str
    failed: int = 0
    passed: int = 0

    def covers(self, kernel: str, case: Case) -> bool:
        return kernel == self.kernel and self.tokens <= set(str(case).split("-"))


def complaint(text: str, failed: int, passed: int) -> str:
    """Why the waiver of that line must go, "" where it met a failure."""
    if failed:
        return ""
    if passed:
        return f"known failure {text!r} passed on each of {passed} cases: remove it"
    return f"known failure {text!r} matched no case"


def read_known(path: Path | None) -> list[Waiver]:
    """The waivers of a file. Raises ValueError for a line without kernel, tokens and issue."""
    found = []
    for number, text in enumerate(path.read_text("utf-8").splitlines() if path else (), 1):
        text = text.partition("# ")[0].strip()
        if not text:
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise ValueError(f"{path}:{number}: wanted `KERNEL TOKENS #ISSUE`, got {text!r}")
        tokens = frozenset(match["tokens"].split("-"))
        found.append(Waiver(match["kernel"], tokens, match["issue"], text))
    return found


def waive(waivers: list[Waiver], kernel: str, case: Case, verdict: Verdict) -> Verdict:
    """`verdict`, or KNOWN in its place where a waiver covers a failure."""
    for waiver in waivers:
        if not waiver.covers(kernel, case):
            continue
        if not verdict.ok:
            waiver.failed += 1
            verdict.message = f"{waiver.issue}: {verdict.headline()}"
            verdict.kind = kinds.KNOWN
            break
        waiver.passed += verdict.kind == kinds.PASS
    return verdict
