"""What the conformance tests run over: each kernel of the run, and the cases that it is put to.

The tests import this into their module: there a fixture holds for them alone, whatever fixtures of
the same name another project has.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import settings

from gptq_fuzz.case.case import Case
from gptq_fuzz.case.corpus import our_corpus, promised_cases, read_corpus
from gptq_fuzz.fingerprint.store import default_cases, quick_cases
from gptq_fuzz.plugin.fixtures import over_kernels
from gptq_fuzz.plugin.live import LiveLine
from gptq_fuzz.plugin.options import asked_of, runs_alone
from gptq_fuzz.plugin.session import SESSION, Session
from gptq_fuzz.search.fuzz import fuzz
from gptq_fuzz.search.own_time import TookTooLong
from gptq_fuzz.search.pairwise import covering_cases

MANY = 1000  # examples: above, a run has hours


def pytest_generate_tests(metafunc):
    """`backend` runs over the chosen kernels, `case` over what the test's marker asks for,
    `problem` and `steps` over what these options say, `given` over the lists of --case.
    """
    for name in ("problem", "steps"):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, getattr(asked_of(metafunc.config), name))
    session, asked = metafunc.config.stash[SESSION], asked_of(metafunc.config)
    if "known" in metafunc.fixturenames:
        _over_known(metafunc, session)
        return
    if "given" in metafunc.fixturenames:
        _over_lists(metafunc, asked, session)
        return
    if "case" not in metafunc.fixturenames:
        over_kernels(metafunc)
        return
    marked = (name for name in CASES if metafunc.definition.get_closest_marker(name))
    alone = runs_alone(asked)
    is_left_out = alone and not metafunc.definition.get_closest_marker(alone)  # lists take seconds
    cases = [] if is_left_out else CASES[next(marked, "corpus")](asked, session)
    try:
        parameters = [pytest.param(spec, case, id=f"{spec}-{case}") for spec, case in cases]
    except TookTooLong as late:
        raise pytest.Collector.CollectError(str(late)) from late
    metafunc.parametrize(("backend", "case"), parameters, indirect=["backend"])


def _over_known(metafunc, session: Session) -> None:
    """`known`, each finding that --store holds of a kernel."""
    parameters = [
        pytest.param(spec, one, id=f"{spec}-{','.join(one.asked[1::2])}")
        for spec in session.kernels
        for one in session.known
        if one.kernel == spec and one.asked
    ]
    metafunc.parametrize(("backend", "known"), parameters, indirect=["backend"])


def _over_lists(metafunc, asked, session: Session) -> None:
    """`given`, all lines of --case: one test, since they are one process's, in their order."""
    parameters = []
    for spec, kernel in session.kernels.items():
        given = [Case.parse(line, kernel.limits.tokens) for line in asked.case]
        if given:
            name = f"{spec}-{','.join(map(str, given))}"
            parameters.append(pytest.param(spec, given, id=name))
    metafunc.parametrize(("backend", "given"), parameters, indirect=["backend"])


def _given_cases(asked, session: Session) -> Iterable[tuple[str, Case]]:
    for spec, kernel in session.kernels.items():
        for case in dict.fromkeys(Case.parse(line, kernel.limits.tokens) for line in asked.case):
            yield spec, case


def _corpus_cases(asked, session: Session) -> Iterable[tuple[str, Case]]:
    theirs = [line for name in asked.corpus for line in read_corpus(Path(name))]
    for spec, kernel in session.kernels.items():
        for case in promised_cases(dict.fromkeys(our_corpus() + theirs), kernel.limits):
            yield spec, case


def _covering_cases(_asked, session: Session) -> Iterable[tuple[str, Case]]:
    for spec, kernel in session.kernels.items():
        for case in covering_cases(kernel.limits, 2 if kernel.is_slow else strength()):
            yield spec, case


def strength() -> int:
    """How many axes that meet in dispatchers are covered together: 4 in the profile `nightly`."""
    return 4 if settings().max_examples > MANY else 3


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
    "corpus": _corpus_cases,
    "covering": _covering_cases,
    "fingerprint": _fingerprint_cases,
    "stored_fingerprint": _stored_cases,
}


@pytest.fixture(scope="session")
def run_seed(suite_session, request) -> int:
    """What --hypothesis-seed says, else a number of this run; 0 in a profile without chance."""
    given = request.config.getoption("--hypothesis-seed")
    if suite_session.base_seed is None:
        own = 0 if settings().derandomize else secrets.randbelow(2**31)
        suite_session.base_seed = own if given in (None, "random") else int(given)
    return suite_session.base_seed


@pytest.fixture
def fuzz_run(request, run_seed):
    """Fuzzes every kernel of the run for --budget seconds; gives the texts of the findings."""
    kernels = list(request.config.stash[SESSION].kernels.values())
    budget = asked_of(request.config).budget
    plugins = request.config.pluginmanager
    reporter, once = plugins.get_plugin("terminalreporter"), plugins.get_plugin("gptq_fuzz_once")
    try:
        if reporter is None:  # a worker of xdist
            return fuzz(kernels, budget, run_seed)
        with plugins.get_plugin("capturemanager").global_and_fixture_disabled():
            reporter.write_line(f"\nfuzz: base seed {run_seed} (--hypothesis-seed)")
            with LiveLine(reporter._tw._file, once) as live:
                return fuzz(kernels, budget, run_seed, live)
    except TookTooLong as late:
        text = str(late)
    pytest.fail(text, pytrace=False)


@pytest.fixture(scope="session")
def suite_session(request) -> Session:
    """Everything that this run knows."""
    return request.config.stash[SESSION]
