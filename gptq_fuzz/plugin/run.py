"""A run with kernels under test: which of them start, which tests run, and how it ends."""

from __future__ import annotations

import contextlib
import importlib
import os
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest

from gptq_fuzz._checkout import IS_CHECKOUT, PACKAGE, ROOT
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.corpus import numbered
from gptq_fuzz.case.history import parse_history
from gptq_fuzz.case.known import read_known
from gptq_fuzz.fingerprint.store import DEFAULT_FILE, OURS, Changed, FingerprintFile
from gptq_fuzz.plugin import report
from gptq_fuzz.plugin.endings import no_silent_exit, sigterm_as_ctrl_c
from gptq_fuzz.plugin.handed_on import hand_on, require_packages, show_on_github
from gptq_fuzz.plugin.in_flight import InFlight, offered
from gptq_fuzz.plugin.once import Once
from gptq_fuzz.plugin.options import ALONE, asked_of, is_about_kernels, runs_alone
from gptq_fuzz.plugin.progress import Progress
from gptq_fuzz.plugin.session import SESSION, Session
from gptq_fuzz.plugin.wanted import named, require
from gptq_fuzz.search.called_as import command_words, python_word
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.own_time import TookTooLong
from gptq_fuzz.search.search import Failure
from gptq_fuzz.worker.loader import BUILT_IN
from gptq_fuzz.worker.supervisor import CannotRun, Launch


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Start the workers, so that a kernel that cannot run ends the run at once."""
    config.addinivalue_line("markers", "given_case: judges the lines of --case")
    config.addinivalue_line("markers", "given_problem: judges the files of --problem")
    config.addinivalue_line("markers", "given_steps: runs the steps of --steps")
    config.addinivalue_line("markers", "fuzz: runs for --budget seconds")
    config.addinivalue_line("markers", "known_finding: judges again what --store knows")
    config.addinivalue_line("markers", "covering: judges a list that holds all pairs of values")
    config.addinivalue_line("markers", "stored_fingerprint: compares with what is stored")
    config.addinivalue_line("markers", "fingerprint: probes how a kernel computes")
    if not hasattr(config, "workerinput"):  # xdist's workers print nothing
        config.pluginmanager.register(Once(config.option.tbstyle), "gptq_fuzz_once")
    asked = asked_of(config)
    is_controller = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    session = config.stash[SESSION] = Session(
        json_path=Path(asked.json) if asked.json else None,
        in_flight=InFlight(config.rootpath / ".gptq-fuzz"),
    )
    is_ours = is_about_kernels(asked)
    require(asked, getattr(config.option, "xmlpath", None) if is_ours else None)
    require_packages(asked)
    is_listed = config.option.collectonly and not is_about_kernels(asked)
    if config.option.help or is_listed:
        return
    if not hasattr(config, "workerinput"):
        session.undo.enter_context(sigterm_as_ctrl_c())
        session.left_behind = session.in_flight.left_behind()
    if asked.in_process:
        session.undo.enter_context(no_silent_exit(lambda text: _last_words(config, text)))
    try:
        _fill(session, config, asked)
    except BaseException as problem:
        session.close()  # no other hook of this plug-in is known to pytest yet
        if isinstance(problem, (CannotRun, ValueError, OSError)):
            raise pytest.UsageError(str(problem)) from problem
        if isinstance(problem, KeyboardInterrupt):
            sys.stderr.write("gptq-fuzz: interrupted while kernels were being loaded\n")
        raise
    if is_controller:  # its workers have processes of their own
        session.stop()
    elif is_about_kernels(asked) and not (asked.in_process or hasattr(config, "workerinput")):
        config.pluginmanager.register(Progress(session.in_flight.asked), "gptq_fuzz_progress")


def _last_words(config, text: str) -> None:
    """To the terminal, whatever captures what tests write."""
    config.pluginmanager.get_plugin("capturemanager").suspend_global_capture()
    asked = ", ".join(config.stash[SESSION].in_flight.asked()) or "nothing yet"
    os.write(2, f"\ngptq-fuzz: {text}; it was asked {asked}\n".encode(errors="surrogateescape"))


def _fill(session: Session, config, asked) -> None:
    for file in asked.problem:
        from gptq_fuzz.problem.file import load_problem

        load_problem(file)  # now: a file that holds none is a wrong option, not a failing test
    with named("known", asked.known):
        session.waivers = read_known(Path(asked.known) if asked.known else None)
    if asked.store:
        from gptq_fuzz.store.known import known
        from gptq_fuzz.store.store import Store

        session.store = Store(asked.store)
        session.known = known(session.store.documents("finding", "gone"))
        for why in session.store.skipped:
            sys.stderr.write(f"gptq-fuzz: {asked.store} skipped {why}\n")
    lines = []
    for file in asked.corpus:
        with named("corpus", file):
            lines += [(f"{file}:{number}", line) for number, line in numbered(Path(file))]
    for spec in asked.kernel or BUILT_IN if asked.fingerprint else ():
        is_ours = IS_CHECKOUT and asked.fingerprint == DEFAULT_FILE and spec in BUILT_IN
        path = OURS if is_ours else config.rootpath / asked.fingerprint
        session.fingerprints[spec] = FingerprintFile(path)
    started = session.started
    for spec in dict.fromkeys(asked.kernel or BUILT_IN):
        started.append(_kernel(spec, session, config, asked))
        started[-1].worker.begin()
    for kernel in started:
        try:
            kernel.worker.wait_ready()
        except CannotRun as problem:
            if asked.kernel:
                raise
            session.left_out[kernel.spec] = str(problem)
        else:
            session.kernels[kernel.spec] = kernel
    for kernel in session.kernels.values():
        for line in asked.case:
            Case.parse(line, kernel.limits.tokens)
        for line in asked.steps if asked.kernel else ():
            parse_history(line, kernel.limits)
        _ = kernel.limits
    _require_readable(lines, session)


def _require_readable(lines: list[tuple[str, str]], session: Session) -> None:
    """A line of --corpus, with its place, that no kernel of this run can read is a mistake, not a
    skip.
    """
    tokens = [token for kernel in session.kernels.values() for token in kernel.limits.tokens]
    for place, line in lines:
        try:
            Case.parse(line, tokens)
        except ValueError as problem:
            more = "; a history is kept by --store, or given by --steps" * ("/" in line)
            raise ValueError(f"--corpus: {place}: {problem}{more}") from problem


def _kernel(spec: str, session: Session, config, asked) -> KernelUnderTest:
    launch = Launch(
        spec=spec,
        started_in=str(config.invocation_params.dir),
        device=asked.device,
        only=asked.only,
        python=asked.python,
        sanitizer=asked.sanitizer,
        timeout=asked.timeout,
        in_flight=session.in_flight.new(),
    )
    called_as = _called_as(config)
    files = session.in_flight.new
    kernel = KernelUnderTest(launch, asked.in_process, session.waivers, called_as, files)
    kernel.keeps_going = asked.keep_going
    return kernel


def _called_as(config) -> tuple[str, ...]:
    """From a checkout `python -m pytest`, with its folder where it was started elsewhere."""
    if words := asked_of(config).called_as:
        return tuple(shlex.split(words))
    if not IS_CHECKOUT or _is_guest(config):
        return tuple(command_words())
    elsewhere = [str(ROOT)] if config.invocation_params.dir != ROOT else []
    return (python_word(), "-m", "pytest", *elsewhere)


def _is_guest(config) -> bool:
    """Whether this is another project's run, which only asked for a kernel of its own."""
    return not config.pluginmanager.has_plugin("gptq_fuzz.plugin.command")


class SuiteModule(pytest.Module):
    """A test file of the package: imported by its name, whatever pytest's import mode.

    Pytest would put the folder above the package on `sys.path`, before another project's own; and a
    project's `python_functions` does not hold for tests that are not its own.
    """

    def _getobj(self):
        return importlib.import_module(
            ".".join(self.path.relative_to(PACKAGE.parent).with_suffix("").parts)
        )

    def funcnamefilter(self, name: str) -> bool:
        return name.startswith("test_")


def pytest_ignore_collect(collection_path, config):
    """A checkout's own tests are not about --kernel: none of them is imported for it."""
    is_ours = IS_CHECKOUT and ROOT / "tests" in collection_path.parents
    return True if is_ours and asked_of(config).kernel and not _is_guest(config) else None


def pytest_collect_directory(path, parent):
    """Folders of the package are plain ones: pytest imports a Package as it imports a test file."""
    if path == PACKAGE or PACKAGE in path.parents:
        return pytest.Dir.from_parent(parent, path=path)
    return None


def pytest_pycollect_makemodule(module_path, parent):
    """Test files of the package are modules of it."""
    if PACKAGE not in module_path.parents:
        return None
    name = module_path.relative_to(PACKAGE.parent).as_posix()
    return SuiteModule.from_parent(parent, path=module_path, nodeid=name)


def pytest_report_header(config):
    """Device, driver, versions; compiled or interpreted; kernels skipped and why."""
    session = config.stash[SESSION]
    lines = [report.header(spec, kernel) for spec, kernel in session.kernels.items()]
    called_as = _called_as(config)
    lines += [offered(asked, called_as, "a run that did not end") for asked in session.left_behind]
    lines += report.namesake() if IS_CHECKOUT else []
    return lines + report.left_out(session.left_out)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """A finding is shown by its reproduce line, not by a traceback through the suite."""
    try:
        return (yield)
    except (Failure, Changed, TookTooLong) as failure:
        text = str(failure)
    pytest.fail(text, pytrace=False)  # outside the handler: no "during handling of" around it


def pytest_collection_modifyitems(config, items):
    """--case, --steps, --budget, --fingerprint run one test alone; --kernel what is about it."""
    asked = asked_of(config)
    mark = runs_alone(asked)
    is_guest = _is_guest(config)

    def is_wanted(item) -> bool:
        if is_guest and PACKAGE not in item.path.parents:
            return True
        if item.get_closest_marker("known_finding"):
            return bool(asked.store)
        marks = {name for name in ALONE if item.get_closest_marker(name)}
        is_of_a_kernel = "backend" in getattr(item, "fixturenames", ())
        if mark == "given_steps":
            return mark in marks and is_of_a_kernel == bool(asked.kernel)
        if mark or marks:
            return mark in marks
        return not asked.kernel or is_of_a_kernel

    left_out = [item for item in items if not is_wanted(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if is_wanted(item)]


def pytest_collection_finish(session):
    """From now on an engineer waits for the first failing verdict."""
    session.config.stash[SESSION].collected_at = time.monotonic()


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session):
    """Note a signal; what else interrupts, such as xdist for -x, has a class of its own."""
    try:
        return (yield)
    except KeyboardInterrupt as reason:
        ours = session.config.stash[SESSION]
        ours.was_interrupted = type(reason) is KeyboardInterrupt
        ours.broken_off = ours.in_flight.asked(ours.of_xdist)
        for process in ours.of_xdist:  # which may wait for a kernel that hangs
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGINT)
        raise


@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node):
    """Under pytest-xdist the controller ends its workers itself, where a signal ends the run."""
    if node.gateway.spec.popen:  # of this machine
        node.config.stash[SESSION].of_xdist.append(node.gateway._rinfo().pid)


def pytest_sessionfinish(session, exitstatus):
    """The exit status, as docs/verdicts.md has it, and what --json asked for."""
    config = session.config
    ours = config.stash[SESSION]
    if config.option.collectonly:
        return
    if hasattr(config, "workerinput"):
        if not ours.was_interrupted:  # else nobody waits for it
            config.workeroutput["gptq_fuzz"] = report.to_json(ours)
        return
    ours.report = report.merged(report.to_json(ours), config)
    if asked_of(config).case or asked_of(config).steps:  # which say nothing of waivers for others
        ours.report["complaints"] = []
    if ours.json_path:
        ours.unwritten = report.write_json(ours.json_path, ours.report)
    ours.unwritten = ours.unwritten or hand_on(ours, asked_of(config))
    is_right = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    if is_right and is_about_kernels(asked_of(config)):
        ours.shortfall = report.shortfall(ours.report)
    if is_right and (ours.shortfall or ours.unwritten):
        session.exitstatus = pytest.ExitCode.USAGE_ERROR
    elif (exitstatus == pytest.ExitCode.OK and ours.report["complaints"]) or (
        exitstatus == pytest.ExitCode.INTERRUPTED  # by -x, which pytest-xdist takes for a signal
        and ours.report["findings"]
        and not ours.was_interrupted
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Under pytest-xdist the controller gathers what its workers saw."""
    gathered = getattr(node, "workeroutput", {}).get("gptq_fuzz")
    if gathered:
        report.gather(node.config, gathered)


def pytest_terminal_summary(terminalreporter, config):
    """Findings that no test has shown, then a table per kernel."""
    session = config.stash[SESSION]
    if session.report:
        report.write_summary(terminalreporter, session)
        if is_about_kernels(asked_of(config)):
            show_on_github(session, terminalreporter.write_line)
    for asked in session.broken_off:
        line = offered(asked, _called_as(config), "the run")
        terminalreporter.write_line(line)


def pytest_unconfigure(config):
    """No worker outlives the run."""
    if SESSION in config.stash:
        config.stash[SESSION].close()
