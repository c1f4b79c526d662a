"""What the conformance tests claim of a kernel; each raises the finding that contradicts it."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import settings
from hypothesis.strategies import SearchStrategy

from gptq_fuzz.case.case import Case
from gptq_fuzz.fingerprint.store import Changed, FingerprintFile, compare
from gptq_fuzz.search.findings import has_enough, record, report_in_order, shrink_and_report
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.search import FLAKY_CALLS, Failure, Search


def must_pass(
    kernel: KernelUnderTest, strategy: SearchStrategy, examples: int, checks=None
) -> None:
    """Draw `examples` cases; raise Failure with the smallest that fails, judged afresh."""
    search = Search(kernel, checks)
    found = search.run(strategy, settings(max_examples=examples))
    if found is not None:
        shrink_and_report(kernel, search, found)


def must_pass_case(kernel: KernelUnderTest, case: Case) -> None:
    """Judge one case with every check, patiently. Raises Failure."""
    verdict = kernel.blamed(kernel.judge(case, "all", FLAKY_CALLS))
    if not verdict.ok:
        record(kernel, verdict)


def must_pass_cases(kernel: KernelUnderTest, cases: Sequence[Case]) -> None:
    """Judge cases one after another in one process, what passes patiently afterwards.

    A failure of a later one that needs those before it is reported with all of them. Raises Failure
    with what all failures say.
    """
    if len(cases) == 1:
        must_pass_case(kernel, cases[0])
        return
    verdicts = [kernel.judge(case, "all") for case in cases]
    if all(verdict.ok for verdict in verdicts):
        verdicts = [kernel.judge(case, "all", FLAKY_CALLS) for case in cases]
    failures = []
    for place, verdict in enumerate(verdicts):
        if not verdict.ok and not has_enough(kernel):
            try:
                report_in_order(kernel, cases[: place + 1], verdict)
            except Failure as failure:
                failures.append(failure)
    if failures:
        raise Failure(failures[0].verdict, "\n\n".join(map(str, failures)))


def must_pass_shrunk(kernel: KernelUnderTest, case: Case, checks="all") -> None:
    """Judge one case, by default with every check; a failure is shrunk. Raises Failure."""
    verdict = kernel.judge(case, checks)
    if not verdict.ok:
        search = Search(kernel)
        search.remember(case, verdict)
        shrink_and_report(kernel, search, search.judge(case))


def must_compute_as_before(
    kernel: KernelUnderTest, case: Case, file: FingerprintFile, stores=True
) -> None:
    """Take the fingerprint at a case's shape. Raises Changed, also for what contradicts."""
    taken = kernel.worker.look("fingerprint", case)
    if stores:
        kernel.fingerprints[case] = taken.get("found", {})
    problems = compare(file, kernel.spec, kernel.worker.description, case, taken, stores)
    if problems:
        raise Changed("\n".join(problems))
