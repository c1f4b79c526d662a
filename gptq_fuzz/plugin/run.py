"""A run with kernels under test: which of them start, which tests run, and how it ends."""

from __future__ import annotations

import importlib
import shlex
import tempfile
import time
from pathlib import Path

import pytest

from gptq_fuzz._checkout import IS_CHECKOUT, PACKAGE, ROOT
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.history import parse_history
from gptq_fuzz.case.known import read_known
from gptq_fuzz.fingerprint.store import DEFAULT_FILE, OURS, Changed, FingerprintFile
from gptq_fuzz.plugin import report
from gptq_fuzz.plugin.once import Once
from gptq_fuzz.plugin.options import asked_of
from gptq_fuzz.plugin.session import SESSION, Session
from gptq_fuzz.problem.file import load_problem
from gptq_fuzz.search.called_as import command_words, python_word
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.own_time import TookTooLong
from gptq_fuzz.search.search import Failure
from gptq_fuzz.worker.loader import BUILT_IN
from gptq_fuzz.worker.supervisor import CannotRun, Launch

# Markers of tests that run only when asked for, and alone
ALONE = ("fingerprint", "given_case", "given_problem", "given_steps", "fuzz")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Start the workers, so that a kernel that cannot run ends the run at once."""
    config.addinivalue_line("markers", "given_case: judges the lines of --case")
    config.addinivalue_line("markers", "given_problem: judges the files of --problem")
    config.addinivalue_line("markers", "given_steps: runs the steps of --steps")
    config.addinivalue_line("markers", "fuzz: runs for --budget seconds")
    config.addinivalue_line("markers", "covering: judges a list that holds all pairs of values")
    config.addinivalue_line("markers", "stored_fingerprint: compares with what is stored")
    config.addinivalue_line("markers", "fingerprint: probes how a kernel computes")
    if not hasattr(config, "workerinput"):  # xdist's workers print nothing
        config.pluginmanager.register(Once(config.option.tbstyle), "gptq_fuzz_once")
    asked = asked_of(config)
    _require_one_task(asked)
    _require_kernel_of_steps(asked)
    _require_file(asked.json)
    session = config.stash[SESSION] = Session(json_path=Path(asked.json) if asked.json else None)
    is_controller = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if config.option.collectonly or config.option.help or is_controller:
        return
    try:
        _fill(session, config, asked)
    except (CannotRun, ValueError, OSError) as problem:
        session.stop()
        raise pytest.UsageError(str(problem)) from problem


def _require_one_task(asked) -> None:
    """Each of these runs alone: of two, one would be passed over. (--case shapes --fingerprint.)"""
    given = [name for name in ("case", "problem", "steps", "budget") if getattr(asked, name)]
    given += ["fingerprint"] if asked.fingerprint and given != ["case"] else []
    if len(given) > 1:
        options = " and ".join(f"--{name}" for name in given)
        raise pytest.UsageError(f"{options} are runs of their own: give one of them")


def _require_kernel_of_steps(asked) -> None:
    """Steps are what a kernel is asked; without one they are those of a checkout's own tests."""
    if asked.steps and not asked.kernel and not IS_CHECKOUT:
        raise pytest.UsageError("--steps wants the kernel that takes them: --kernel SPEC")


def _require_file(path: str | None) -> None:
    """Now, not when everything has been judged, a report that cannot be written is refused."""
    if path is None:
        return
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise pytest.UsageError(f"--json={path}: {problem}") from problem
    if Path(path).is_dir():
        raise pytest.UsageError(f"--json={path}: wanted a file, this is a folder")


def _fill(session: Session, config, asked) -> None:
    for file in asked.problem:
        load_problem(file)  # now: a file that holds none is a wrong option, not a failing test
    session.waivers = read_known(Path(asked.known) if asked.known else None)
    for spec in asked.kernel or BUILT_IN if asked.fingerprint else ():
        is_ours = IS_CHECKOUT and asked.fingerprint == DEFAULT_FILE and spec in BUILT_IN
        path = OURS if is_ours else config.rootpath / asked.fingerprint
        session.fingerprints[spec] = FingerprintFile(path)
    started = [_kernel(spec, session, config, asked) for spec in asked.kernel or BUILT_IN]
    for kernel in started:
        kernel.worker.begin()
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


def _kernel(spec: str, session: Session, config, asked) -> KernelUnderTest:
    launch = Launch(
        spec=spec,
        started_in=str(config.invocation_params.dir),
        device=asked.device,
        python=asked.python,
        sanitizer=asked.sanitizer,
        timeout=asked.timeout,
        in_flight=str(_in_flight(config, spec)),
    )
    called_as = tuple(shlex.split(asked.called_as)) or _called_as(config)
    return KernelUnderTest(launch, asked.only, asked.in_process, session.waivers, called_as)


def _called_as(config) -> tuple[str, ...]:
    """From a checkout `python -m pytest`, with its folder where it was started elsewhere."""
    if not IS_CHECKOUT or _is_guest(config):
        return tuple(command_words())
    elsewhere = [str(ROOT)] if config.invocation_params.dir != ROOT else []
    return (python_word(), "-m", "pytest", *elsewhere)


def _is_guest(config) -> bool:
    """Whether this is another project's run, which only asked for a kernel of its own."""
    return not config.pluginmanager.has_plugin("gptq_fuzz.plugin.command")


def _in_flight(config, spec: str) -> Path:
    """Where the line being judged lies while it runs: what to look at if the machine goes down."""
    worker = getattr(config, "workerinput", {}).get("workerid", "main")
    name = "".join(letter if letter.isalnum() else "_" for letter in spec)
    folder = config.rootpath / ".gptq-fuzz"
    try:
        folder.mkdir(exist_ok=True)
    except OSError:  # a folder that cannot be written to
        folder = Path(tempfile.mkdtemp(prefix="gptq-fuzz-"))
    return folder / f"in-flight-{worker}-{name}.txt"


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
    given = (asked.fingerprint, asked.case, asked.problem, asked.steps, asked.budget)
    mark = next((mark for mark, value in zip(ALONE, given, strict=True) if value), None)
    is_guest = _is_guest(config)

    def is_wanted(item) -> bool:
        if is_guest and PACKAGE not in item.path.parents:
            return True
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


def pytest_sessionfinish(session, exitstatus):
    """Nothing judged although kernels were asked for: 4. A waiver that no longer holds: 1."""
    config = session.config
    ours = config.stash[SESSION]
    if hasattr(config, "workerinput"):
        config.workeroutput["gptq_fuzz"] = report.to_json(ours)
    if config.option.collectonly or not ours.kernels:
        return
    asked = asked_of(config)
    is_about_kernels = asked.kernel or asked.case or asked.problem or asked.budget
    none_judged = is_about_kernels and not ours.judged and not ours.fingerprints
    if none_judged and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.USAGE_ERROR
    elif ours.complaints() and exitstatus == pytest.ExitCode.OK:
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
    data = report.merged(report.to_json(session), config)
    report.write_summary(terminalreporter, data, session)
    if session.json_path and not hasattr(config, "workerinput"):
        report.write_json(session.json_path, data)


def pytest_unconfigure(config):
    """No worker outlives the run."""
    if SESSION in config.stash:
        config.stash[SESSION].stop()
