"""The earlier cases that a failure needs: what its process judged before it, asked again in others.

`--case A --case B` judges A, then B, in one process. Suffixes of what was judged are tried first,
then the smallest list is looked for by delta debugging (Zeller and Hildebrandt, TSE 2002). Every
try costs the start of a process.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence

from gptq_fuzz.case.case import Case
from gptq_fuzz.case.known import waive
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.worker.supervisor import Asked

SECONDS = 30.0  # in which another try may begin
AGAIN_SECONDS = 30.0  # in which what was found fails TIMES times, or is none
LONGER = 8  # times, each suffix than the one before
FEW = 64  # cases that are asked with every check, as the command does; more of them as they were
TIMES = 3  # in a row that the list must fail: a flaky kernel may fail by chance


def needed_before(
    kernel: KernelUnderTest, case: Case, judged: Sequence[Asked]
) -> tuple[list[Case], Verdict] | None:
    """The fewest of `judged` after which `case` fails, in order, and its verdict; None if none do.

    What is returned has failed each of TIMES times, in a new process each, asked as by --case.
    """
    replay = _Replay(kernel, case)
    found = replay.fewest(judged)
    if found is None:
        return None
    cases = [asked.case for asked in found]
    ends = time.monotonic() + AGAIN_SECONDS
    for _ in range(TIMES):
        verdicts = in_order(kernel, [*cases, case], ends)
        if len(verdicts) <= len(cases) or verdicts[-1].ok:
            return None
    return cases, verdicts[-1]


def in_order(
    kernel: KernelUnderTest, cases: Sequence[Case], ends: float = math.inf
) -> list[Verdict]:
    """The verdicts on cases judged one after another in a new process, each with every check; on
    fewer where time ends.
    """
    kernel.worker.stop()
    verdicts = []
    for case in cases:
        if time.monotonic() > ends:
            break
        verdicts.append(waive(kernel.waivers, kernel.spec, case, kernel.worker.ask(case)))
    return verdicts


class _Replay:
    def __init__(self, kernel: KernelUnderTest, case: Case):
        self._kernel, self._case = kernel, case
        self._ends = time.monotonic() + SECONDS

    def fewest(self, judged: Sequence[Asked]) -> list[Asked] | None:
        for suffix in _suffixes(judged):
            if self._fails(suffix):
                return self._reduced(suffix)
        return None

    def _fails(self, earlier: Sequence[Asked]) -> bool:
        """Whether the case fails after these in a new process; no, where there is no time left."""
        worker = self._kernel.worker
        worker.stop()
        for asked in earlier:
            if time.monotonic() > self._ends:
                return False
            worker.ask(asked.case, *([] if len(earlier) <= FEW else asked[1:]))
        verdict = worker.ask(self._case)
        return not waive(self._kernel.waivers, self._kernel.spec, self._case, verdict).ok

    def _reduced(self, cases: list[Asked]) -> list[Asked]:
        """Without parts that are not needed, as far as there is time."""
        parts = 2
        while len(cases) > 1 and time.monotonic() < self._ends:
            smaller = next((some for some in _smaller(cases, parts) if self._fails(some)), None)
            if smaller is not None:
                parts = 2 if len(smaller) <= len(cases) // 2 else max(parts - 1, 2)
                cases = smaller
            elif parts >= len(cases):
                break
            else:
                parts = min(2 * parts, len(cases))
        return cases


def _suffixes(judged: Sequence[Asked]) -> Iterator[list[Asked]]:
    """The last of them, then more, then all."""
    size = LONGER
    while size < len(judged):
        yield list(judged[-size:])
        size *= LONGER
    if judged:
        yield list(judged)


def _smaller(cases: list[Asked], parts: int) -> Iterator[list[Asked]]:
    """Each part alone, the last one first; then all without one of them."""
    edges = [len(cases) * part // parts for part in range(parts + 1)]
    spans = list(itertools.pairwise(edges))[::-1]
    yield from (cases[first:end] for first, end in spans)
    if parts > 2:
        yield from (cases[:first] + cases[end:] for first, end in spans)
