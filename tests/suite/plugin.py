"""The pytest plug-in: options, which kernels run, which tests, and how a run ends."""

from __future__ import annotations

import argparse
import contextlib
import secrets
import sys
from pathlib import Path

import pytest

from . import report
from .case import Case
from .corpus import our_corpus, read_corpus
from .fuzz import fuzz
from .known import read_known
from .live import LiveLine
from .search import Failure
from .session import DEFAULT_TIMEOUT, KernelUnderTest, Session
from .supervisor import CannotRun, Launch

BUILT_IN = ("triton", "exllama", "torch")  # all that run when no --kernel is given
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")
SESSION = pytest.StashKey[Session]()
TIMEOUT = pytest.StashKey[float]()


def pytest_addoption(parser):
    """The options of the suite; those of Hypothesis, pytest-xdist and pytest stay theirs."""
    group = parser.getgroup("gptq-fuzz", "kernels under test")

    def add(name, **more):
        # Where pytest-timeout is installed, --timeout is there already; see pytest_configure.
        with contextlib.suppress(ValueError, argparse.ArgumentError):
            group.addoption(name, **more)

    add(
        "--kernel",
        action="append",
        metavar="SPEC",
        default=[],
        help=f"{', '.join(BUILT_IN)}, package.module:attribute or path.py:attribute; repeatable",
    )
    add("--case", action="append", metavar="LINE", default=[], help="judge this case alone")
    add(
        "--only", metavar="TOKENS", default="", help="draw and promise only these, e.g. b4-g128-seq"
    )
    add("--steps", action="append", metavar="LINE", default=[], help="replay a state machine's run")
    add("--corpus", action="append", metavar="FILE", default=[], help="replay these lines too")
    add("--budget", type=float, metavar="SECONDS", help="fuzz for so long, and nothing else")
    add(
        "--timeout",
        type=float,
        metavar="SECONDS",
        default=None,
        help=f"for one case, compilation not counted (default {DEFAULT_TIMEOUT:g})",
    )
    add("--device", metavar="DEVICE", help="cuda:1 or cpu (default: the first GPU, else cpu)")
    add("--python", metavar="PATH", default=sys.executable, help="interpreter of the worker")
    add("--known", metavar="FILE", help="known failures, each naming its issue")
    add("--json", metavar="FILE", help="write verdicts, findings and coverage there")
    add(
        "--sanitizer",
        metavar="TOOL",
        choices=SANITIZERS,
        default="",
        help="run the worker under compute-sanitizer",
    )
    add("--in-process", action="store_true", help="no worker process, for debuggers")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Start the workers, so that a kernel that cannot run ends the run at once."""
    # A case's time-out, not a test's: pytest-timeout would end a test of many cases.
    config.stash[TIMEOUT] = config.option.timeout or DEFAULT_TIMEOUT
    config.option.timeout = None
    config.addinivalue_line("markers", "given_case: judges the lines of --case")
    config.addinivalue_line("markers", "given_steps: runs the steps of --steps")
    config.addinivalue_line("markers", "fuzz: runs for --budget seconds")
    session = Session(json_path=Path(config.option.json) if config.option.json else None)
    config.stash[SESSION] = session
    is_controller = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if config.option.collectonly or config.option.help or is_controller:
        return
    try:
        _fill(session, config)
    except (CannotRun, ValueError, OSError) as problem:
        session.stop()
        raise pytest.UsageError(str(problem)) from problem


def _fill(session: Session, config) -> None:
    option = config.option
    session.waivers = read_known(Path(option.known) if option.known else None)
    started = [_kernel(spec, session, config) for spec in option.kernel or BUILT_IN]
    for kernel in started:
        kernel.worker.begin()
    for kernel in started:
        try:
            kernel.worker.wait_ready()
        except CannotRun as problem:
            if option.kernel:
                raise
            session.left_out[kernel.spec] = str(problem)
        else:
            session.kernels[kernel.spec] = kernel
    for kernel in session.kernels.values():
        for line in option.case:
            Case.parse(line, kernel.limits.tokens)
        _ = kernel.limits


def _kernel(spec: str, session: Session, config) -> KernelUnderTest:
    option = config.option
    launch = Launch(
        spec=spec,
        started_in=str(config.invocation_params.dir),
        device=option.device,
        python=option.python,
        sanitizer=option.sanitizer,
        timeout=config.stash[TIMEOUT],
        in_flight=str(_in_flight(config, spec)),
    )
    return KernelUnderTest(launch, option.only, option.in_process, session.waivers)


def _in_flight(config, spec: str) -> Path:
    """Where the line being judged lies while it runs: what to look at if the machine goes down."""
    worker = getattr(config, "workerinput", {}).get("workerid", "main")
    name = "".join(letter if letter.isalnum() else "_" for letter in spec)
    folder = config.rootpath / ".gptq-fuzz"
    folder.mkdir(exist_ok=True)
    return folder / f"in-flight-{worker}-{name}.txt"


def pytest_report_header(config):
    """Device, driver, versions; compiled or interpreted; kernels skipped and why."""
    session = config.stash[SESSION]
    lines = [report.header(spec, kernel) for spec, kernel in session.kernels.items()]
    lines += report.namesake()
    return lines + report.left_out(session.left_out)


def pytest_generate_tests(metafunc):
    """`backend` runs over the chosen ones, `line` over the corpus or what --case says."""
    session = metafunc.config.stash[SESSION]
    if "given_steps" in metafunc.fixturenames:
        metafunc.parametrize("given_steps", metafunc.config.option.steps)
    if {"backend", "line"} <= set(metafunc.fixturenames):
        metafunc.parametrize(
            ("backend", "line"), list(_lines(metafunc, session)), indirect=["backend"]
        )
    elif "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", list(session.kernels), indirect=True)


def _lines(metafunc, session: Session):
    option = metafunc.config.option
    if metafunc.definition.get_closest_marker("given_case"):
        wanted = option.case
    else:
        theirs = [line for name in option.corpus for line in read_corpus(Path(name))]
        _refuse_unreadable(theirs, session)
        wanted = dict.fromkeys(our_corpus() + theirs)
    for spec, kernel in session.kernels.items():
        for line in wanted:
            if line in option.case or _is_legal(line, kernel):
                yield pytest.param(spec, line, id=f"{spec}-{line}")


def _is_legal(line: str, kernel: KernelUnderTest) -> bool:
    """A corpus line runs on each kernel that promises it, tokens of its own included."""
    try:
        case = Case.parse(line, kernel.limits.tokens)
    except ValueError:  # another kernel's tokens; tests/meta reads each line of ours
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
def backend(request):
    """The kernel under test; a test of one that has failed enough is not run."""
    session = request.config.stash[SESSION]
    under_test = session.kernels[request.param]
    if under_test.has_enough_findings:
        pytest.skip("enough_findings")
    return under_test


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """A finding is told by its reproduce line, not by a traceback through the suite."""
    try:
        return (yield)
    except Failure as failure:
        text = str(failure)
    pytest.fail(text, pytrace=False)  # outside the handler: no "during handling of" around it


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
            return fuzz(kernels, request.config.option.budget, session.base_seed, live)


@pytest.fixture(scope="session")
def suite_session(request) -> Session:
    """Everything that this run knows."""
    return request.config.stash[SESSION]


def pytest_collection_modifyitems(config, items):
    """--case, --steps, --budget run their own test alone; --kernel only what is about kernels."""
    option = config.option
    given = {"given_case": option.case, "given_steps": option.steps, "fuzz": option.budget}
    mark = next((name for name, value in given.items() if value), None)
    kept = [item for item in items if _is_wanted(item, mark, bool(option.kernel))]
    if len(kept) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


def _is_wanted(item, mark: str | None, kernels_only: bool) -> bool:
    own = ("given_case", "given_steps", "fuzz")
    marks = {name for name in own if item.get_closest_marker(name)}
    if mark or marks:
        return mark in marks
    return not kernels_only or "backend" in getattr(item, "fixturenames", ())


def pytest_sessionfinish(session, exitstatus):
    """Nothing judged although kernels were asked for: 4. A waiver that no longer holds: 1."""
    config = session.config
    ours = config.stash[SESSION]
    if hasattr(config, "workerinput"):
        config.workeroutput["gptq_fuzz"] = report.to_json(ours)
    if config.option.collectonly or not ours.kernels:
        return
    asked = config.option.kernel or config.option.case or config.option.budget
    if asked and not ours.judged and exitstatus in (pytest.ExitCode.OK, NO_TESTS):
        session.exitstatus = pytest.ExitCode.USAGE_ERROR
    elif ours.complaints() and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


NO_TESTS = pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Under pytest-xdist the controller gathers what its workers saw."""
    gathered = getattr(node, "workeroutput", {}).get("gptq_fuzz")
    if gathered:
        report.gather(node.config, gathered)


def pytest_terminal_summary(terminalreporter, config):
    """Findings with their reproduce lines, then a table per kernel."""
    session = config.stash[SESSION]
    data = report.merged(report.to_json(session), config)
    report.write_summary(terminalreporter, data, session)
    if session.json_path and not hasattr(config, "workerinput"):
        report.write_json(session.json_path, data)


def pytest_unconfigure(config):
    """No worker outlives the run."""
    if SESSION in config.stash:
        config.stash[SESSION].stop()
