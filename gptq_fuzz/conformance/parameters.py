"""What the conformance tests run over: each kernel of the run, and the cases that it is put to.

The tests import this into their module: there a fixture holds for them alone, whatever fixtures of
the same name another project has.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path

import pytest

from gptq_fuzz.case.case import Case
from gptq_fuzz.case.corpus import our_corpus, promised_cases, read_corpus
from gptq_fuzz.fingerprint.store import default_cases, quick_cases
from gptq_fuzz.plugin.fixtures import over_kernels
from gptq_fuzz.plugin.live import LiveLine
from gptq_fuzz.plugin.options import asked_of
from gptq_fuzz.plugin.session import SESSION, Session
from gptq_fuzz.search.fuzz import fuzz
from gptq_fuzz.search.pairwise import pairwise_cases


def pytest_generate_tests(metafunc):
    """`backend` runs over the chosen kernels, `case` over what the test's marker asks for, and
    `problem` over the files of --problem.
    """
    if "problem" in metafunc.fixturenames:
        metafunc.parametrize("problem", asked_of(metafunc.config).problem)
    if "case" not in metafunc.fixturenames:
        over_kernels(metafunc)
        return
    session, asked = metafunc.config.stash[SESSION], asked_of(metafunc.config)
    marked = (name for name in CASES if metafunc.definition.get_closest_marker(name))
    cases = CASES[next(marked, "corpus")](asked, session)
    parameters = [pytest.param(spec, case, id=f"{spec}-{case}") for spec, case in cases]
    metafunc.parametrize(("backend", "case"), parameters, indirect=["backend"])


def _given_cases(asked, session: Session) -> Iterable[tuple[str, Case]]:
    for spec, kernel in session.kernels.items():
        for case in dict.fromkeys(Case.parse(line, kernel.limits.tokens) for line in asked.case):
            yield spec, case


def _corpus_cases(asked, session: Session) -> Iterable[tuple[str, Case]]:
    theirs = [line for name in asked.corpus for line in read_corpus(Path(name))]
    _require_readable(theirs, session)
    for spec, kernel in session.kernels.items():
        for case in promised_cases(dict.fromkeys(our_corpus() + theirs), kernel.limits):
            yield spec, case


def _pairwise_cases(_asked, session: Session) -> Iterable[tuple[str, Case]]:
    for spec, kernel in session.kernels.items():
        for case in pairwise_cases(kernel.limits):
            yield spec, case


def _fingerprint_cases(asked, session: Session) -> Iterable[tuple[str, Case]]:
    if asked.case:
        yield from _given_cases(asked, session)
        return
    for spec, kernel in session.kernels.items():
        about = kernel.worker.description
        for case in default_cases(kernel.limits, bool(about["triton"] and about["interpreted"])):
            yield spec, case


def _stored_cases(_asked, session: Session) -> Iterable[tuple[str, Case]]:
    for spec, kernel in session.kernels.items():
        for case in quick_cases(spec, kernel.worker.description, kernel.limits):
            yield spec, case


CASES = {  # marker of a test -> what gives its kernels and cases
    "given_case": _given_cases,
    "corpus": _corpus_cases,
    "pairwise": _pairwise_cases,
    "fingerprint": _fingerprint_cases,
    "stored_fingerprint": _stored_cases,
}


def _require_readable(lines: list[str], session: Session) -> None:
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
