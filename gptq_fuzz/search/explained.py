"""What explains a wrong result, and where its weights lie: asked in the way in which it failed."""

from __future__ import annotations

import time

from gptq_fuzz.case.case import Case
from gptq_fuzz.case.checks import RIGHT_ALONE, WRONG_ALONE
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.fingerprint.store import COLUMNS, LENGTH
from gptq_fuzz.search.kernel import KernelUnderTest

MOST_PRODUCTS = 2**21  # of a larger problem that is looked at closely
MOST_WEIGHTS = 2**22  # of any: it is built again for each look, which asks some hundred times
SECONDS_OF_SUMS = 8.0
NO_TIME = "how sums are formed: not looked for, time"
ROWS_PERMUTED = "rows permuted"  # the only question whose data the worker rearranges itself


def diagnose(kernel: KernelUnderTest, verdict: Verdict, first: Case | None) -> None:
    """Give a WRONG verdict what explains it and its pattern; beside them those of `first`.

    `first` is the larger case that failed before it was made smaller. What is said of the line and
    of the larger one is never mixed: where the line alone explains nothing, both are named.
    """
    case = _asked(kernel, verdict)
    if case.n * case.k > MOST_WEIGHTS:
        return
    own = kernel.worker.look("diagnosis", case, verdict.check)
    _take(verdict, own)
    late = ""
    if not verdict.explained and _is_right_alone(verdict.pattern) and not kernel.is_slow:
        verdict.explained, late = _of_sums(kernel, case, first)
    alone = own.get("pattern") and not _is_right_alone(own["pattern"])
    asked = WRONG_ALONE if alone else verdict.check
    hints = kernel.worker.look("hints", case, asked).get("hints", "")
    verdict.hints = "; ".join(filter(None, (hints, late)))
    if not first or verdict.asked:
        return
    small = verdict.case.m * verdict.case.n * verdict.case.k
    if not small < first.m * first.n * first.k <= MOST_PRODUCTS:
        return
    other = kernel.worker.look("diagnosis", first, verdict.check)
    if not other.get("pattern") or _is_right_alone(other["pattern"]):
        return
    if verdict.explained or not other["explained"]:
        words = filter(None, (other["explained"], other["pattern"]))
        verdict.larger = f"{first}: {'; '.join(words)}"
        return
    verdict.explained = f"{other['explained']} (in {first})"
    if not verdict.pattern or _is_right_alone(verdict.pattern):
        verdict.pattern = f"{other['pattern']} (in {first})"
    else:
        verdict.larger = f"{first}: {other['pattern']}"


def _asked(kernel: KernelUnderTest, verdict: Verdict) -> Case:
    """The question that failed: a relation asks another one than the line."""
    if not verdict.asked or verdict.check == ROWS_PERMUTED:
        return verdict.case
    return Case.parse(verdict.asked, kernel.limits.tokens)


def _take(verdict: Verdict, look: dict) -> None:
    """What single weights say; where none is wrong, what explains the result itself stays."""
    pattern = look.get("pattern", "")
    if not pattern or (_is_right_alone(pattern) and verdict.explained):
        return
    verdict.explained, verdict.pattern = look["explained"], pattern


def _is_right_alone(pattern: str) -> bool:
    return pattern.startswith(RIGHT_ALONE)


def _of_sums(kernel: KernelUnderTest, case: Case, first: Case | None) -> tuple[str, str]:
    """How sums are formed otherwise than declared, as a fingerprint shows: short ones hide it. With
    it what there was no time for.
    """
    ends = time.monotonic() + SECONDS_OF_SUMS
    longer = case.replace(n=_whole(COLUMNS, case.n), k=_whole(LENGTH, case.k))
    for shape in dict.fromkeys(filter(None, (case, first, longer))):
        if kernel.limits.violations(shape):
            continue
        seconds = max(ends - time.monotonic(), 0.0)
        taken = kernel.worker.look("fingerprint", shape, seconds=seconds)
        if taken.get("is_late"):
            return "", NO_TIME
        if words := _clash(taken):
            return words + (f" (in {shape})" if shape != case else ""), ""
    return "", ""


def _whole(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def _clash(taken: dict) -> str:
    found = taken.get("found", {})
    clashes = [text.partition(":")[0] for text in taken.get("contradictions", [])]
    words = {
        "partial": f"partial sums in {found.get('partial sums')}",
        "accumulator": f"sums in {found.get('accumulator')}",
        "aligned_bits": f"products aligned to {found.get('accumulator')}",
    }
    return ", ".join(words[name] for name in dict.fromkeys(clashes) if name in words)
