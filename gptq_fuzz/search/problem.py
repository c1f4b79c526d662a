"""A kernel judged on the operands that a file holds, as an engine had them."""

from __future__ import annotations

from pathlib import Path

from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.search.findings import keep
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.search import FLAKY_CALLS

PER_WEIGHT, PER_PRODUCT = 5e-6, 2e-8  # seconds that judging may take on a busy CPU


def judge_problem(kernel: KernelUnderTest, path: str | Path) -> Verdict:
    """The verdict on a file of `save_problem`, counted. Raises OSError, ValueError for no such."""
    from gptq_fuzz.problem.file import load_problem  # and torch, which takes seconds

    problem = load_problem(path)
    patience = problem.k * problem.n * (PER_WEIGHT + PER_PRODUCT * problem.m)
    verdict = kernel.worker.ask_file(Path(path), FLAKY_CALLS, patience)
    kernel.coverage.count(verdict)
    return verdict


def must_pass_problem(kernel: KernelUnderTest, path: str | Path) -> None:
    """Judge a kernel on a file. Raises Failure, with the command that shows it again."""
    verdict = judge_problem(kernel, path)
    if not verdict.ok:
        keep(kernel, verdict, f"--problem={path}")  # a bare path would look like a test file
