"""What the conformance tests are given: each kernel of the run, and the lines that it is put to."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path

import pytest

from gptq_fuzz.case.case import Case
from gptq_fuzz.case.corpus import our_corpus, read_corpus
from gptq_fuzz.fingerprint.store import default_lines, quick_lines
from gptq_fuzz.plugin.fixtures import backend, over_kernels
from gptq_fuzz.plugin.live import LiveLine
from gptq_fuzz.plugin.options import asked_of
from gptq_fuzz.plugin.session import SESSION, Session
from gptq_fuzz.search.fuzz import fuzz
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.pairwise import pairwise_cases

__all__ = ["backend"]


def pytest_generate_tests(metafunc):
    """`backend` runs over the chosen kernels, `line` over what the test's marker asks for."""
    if "line" not in metafunc.fixturenames:
        over_kernels(metafunc)
        return
    session, asked = metafunc.config.stash[SESSION], asked_of(metafunc.config)
    marked = (name for name in LINES if metafunc.definition.get_closest_marker(name))
    lines = LINES[next(marked, "corpus")](asked, session)
    parameters = [pytest.param(spec, line, id=f"{spec}-{line}") for spec, line in lines]
    metafunc.parametrize(("backend", "line"), parameters, indirect=["backend"])


def _given_lines(asked, session: Session) -> Iterable[tuple[str, str]]:
    return [(spec, line) for spec in session.kernels for line in dict.fromkeys(asked.case)]


def _corpus_lines(asked, session: Session) -> Iterable[tuple[str, str]]:
    theirs = [line for name in asked.corpus for line in read_corpus(Path(name))]
    _refuse_unreadable(theirs, session)
    for spec, kernel in session.kernels.items():
        for line in dict.fromkeys(our_corpus() + theirs):
            if _is_legal(line, kernel):
                yield spec, line


def _pairwise_lines(_asked, session: Session) -> Iterable[tuple[str, str]]:
    for spec, kernel in session.kernels.items():
        for case in pairwise_cases(kernel.limits):
            yield spec, str(case)


def _fingerprint_lines(asked, session: Session) -> Iterable[tuple[str, str]]:
    for spec, kernel in session.kernels.items():
        about = kernel.worker.description
        is_slow = bool(about["triton"] and about["interpreted"])
        for line in asked.case or default_lines(kernel.limits, is_slow):
            yield spec, line


def _stored_lines(_asked, session: Session) -> Iterable[tuple[str, str]]:
    for spec, kernel in session.kernels.items():
        for line in quick_lines(spec, kernel.worker.description, kernel.limits):
            yield spec, line


LINES = {  # marker of a test -> what gives its kernels and lines
    "given_case": _given_lines,
    "corpus": _corpus_lines,
    "pairwise": _pairwise_lines,
    "fingerprint": _fingerprint_lines,
    "stored_fingerprint": _stored_lines,
}


def _is_legal(line: str, kernel: KernelUnderTest) -> bool:
    """A corpus line runs on each kernel that promises it, tokens of its own included."""
    try:
        case = Case.parse(line, kernel.limits.tokens)
    except ValueError:  # another kernel's tokens; a test of the suite reads each line of ours
        return False
    limits = kernel.limits
    return not limits.violations(case) and (not case.bad or case.bad in limits.bad)


def _refuse_unreadable(lines: list[str], session: Session) -> None:
    """A line of --corpus that no kernel of this run can read is a mistake, not a skip."""
    tokens = [token for kernel in session.kernels.values() for token in kernel.limits.tokens]
    for line in lines:
        try:
            Case.parse(line, tokens)
        except ValueError as problem:
            raise pytest.UsageError(f"--corpus: {problem}") from problem


@pytest.fixture
def fuzz_run(request):
    """Fuzzes every kernel of the run for --budget seconds; gives the texts of the findings."""
    session = request.config.stash[SESSION]
    given = request.config.getoption("--hypothesis-seed")
    session.base_seed = secrets.randbelow(2**31) if given in (None, "random") else int(given)
    plugins = request.config.pluginmanager
    reporter = plugins.get_plugin("terminalreporter")
    with plugins.get_plugin("capturemanager").global_and_fixture_disabled():
        reporter.write_line(f"\nfuzz: base seed {session.base_seed} (--hypothesis-seed)")
        with LiveLine(reporter._tw._file) as live:
            kernels = list(session.kernels.values())
            return fuzz(kernels, asked_of(request.config).budget, session.base_seed, live.show)


@pytest.fixture(scope="session")
def suite_session(request) -> Session:
    """Everything that this run knows."""
    return request.config.stash[SESSION]
