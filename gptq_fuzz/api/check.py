"""A kernel put under the suite by a test of somebody's own."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hypothesis import configuration, currently_in_test_context

from gptq_fuzz.api.named import specs_of
from gptq_fuzz.case.backend import Backend, from_callable
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.corpus import our_corpus, promised_cases
from gptq_fuzz.case.environment import hypothesis_home
from gptq_fuzz.oracle.surroundings import global_state, restore_state
from gptq_fuzz.problem.codes import as_packed
from gptq_fuzz.search.called_as import command_words
from gptq_fuzz.search.claims import must_pass_shrunk
from gptq_fuzz.search.fuzz import fuzz
from gptq_fuzz.search.history import canned, must_pass_canned
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.own_time import TookTooLong
from gptq_fuzz.search.pairwise import covering_cases
from gptq_fuzz.search.search import Failure
from gptq_fuzz.worker import served
from gptq_fuzz.worker.in_process import InProcess
from gptq_fuzz.worker.supervisor import DEFAULT_TIMEOUT, CannotRun, Launch

TRIED = 4  # of the names of one object
HOOKS = ("jit_cache_hook", "jit_post_compile_hook")  # that a worker sets where Triton is


@dataclass(frozen=True)
class Summary:
    """What `check` judged: how many cases, with which verdicts, in how many seconds.

    `ran_in` is "a worker", or "this process" and why. `seed` is that of the fuzzed cases. `no_time`
    says what of corpus, list and histories was left.
    """

    cases: int
    verdicts: dict[str, int]
    seconds: float
    ran_in: str
    seed: int
    no_time: str = ""

    def __str__(self) -> str:
        counts = " ".join(f"{kind} {count}" for kind, count in self.verdicts.items())
        noun = "case" if self.cases == 1 else "cases"
        judged = f"{self.cases} {noun} judged in {self.ran_in}, {self.seconds:.1f} s"
        left = f"; no time for {self.no_time}" * bool(self.no_time)
        return f"{judged}: {counts or 'none'} (base seed {self.seed}){left}"


def check(
    kernel: str | Backend | Callable,
    *,
    only: str = "",
    budget: float = 30.0,
    device: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
) -> Summary:
    """Put `kernel` under the suite for `budget` seconds: corpus, list, histories, fuzzing.

    `kernel` is a function `f(x=, qweight=, qzeros=, scales=, g_idx=, bits=)`, a Backend, or what
    `--kernel` takes. `only` are tokens that narrow what is drawn, such as "b4-g128"; `device` is
    "cpu" or "cuda:1" (default: the first GPU, else the CPU); `timeout` is for one case. A kernel
    that a module with a file holds runs in a process of its own, which imports that module: a crash
    or a hang is a verdict then. Another one runs in this process, and the report says so. The first
    finding ends it.

    Raises AssertionError with the finding and the command that shows it again, or where no case
    could be judged; ValueError for a kernel that cannot be loaded and for wrong options;
    RuntimeError where this process did not get done with drawing or listing cases.
    """
    __tracebackhide__ = True
    for name, value in (("budget", budget), ("timeout", timeout)):
        is_number = isinstance(value, (int, float))
        if not (is_number and value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be a number of seconds above 0, got {value!r}")
    if served.is_worker:  # it loads the file that calls us, and will judge for its parent
        return Summary(0, {}, 0.0, "no process: this is a worker", 0)
    if not isinstance(kernel, (str, Backend)) and not callable(kernel):
        raise ValueError(
            f"wanted a function, a Backend or a text as --kernel takes, got {kernel!r}"
        )
    if currently_in_test_context():
        raise ValueError("check draws cases itself, and cannot do so inside a test of @given")
    with contextlib.ExitStack() as stack:
        stack.enter_context(_hypothesis_elsewhere())
        try:
            under_test, ran_in = _started(kernel, only, device, timeout, stack)
            return _checked(under_test, budget, ran_in)
        except CannotRun as problem:
            raise ValueError(str(problem)) from problem
        except TookTooLong as late:
            raise RuntimeError(str(late)) from late


def _checked(kernel: KernelUnderTest, budget: float, ran_in: str) -> Summary:
    __tracebackhide__ = True
    started, seed = time.monotonic(), secrets.randbelow(2**31)
    no_time = ""
    with contextlib.suppress(Failure):  # it is among the findings
        no_time = _judge_until(kernel, started + budget, seed)
    coverage = kernel.coverage
    seconds = time.monotonic() - started
    summary = Summary(coverage.judged, dict(coverage.verdicts), seconds, ran_in, seed, no_time)
    if kernel.findings:
        raise AssertionError(f"{_report(kernel)}\n{summary}")
    if not coverage.judged:
        skipped = ", ".join(f"SKIPPED({code}) {count}" for code, count in coverage.skips.items())
        raise AssertionError(f"no case was judged: {skipped or 'none was drawn'}\n{summary}")
    return summary


def _report(kernel: KernelUnderTest) -> str:
    finding = kernel.findings[0]
    if not kernel.in_process:
        return finding.text()
    _, _, steps = finding.command.partition(" --steps ")
    what = f"steps {steps}" if steps else f"case {finding.verdict.line}"
    return f"{what}; no command shows it, since the kernel ran in this process\n{finding.verdict}"


def _judge_until(kernel: KernelUnderTest, ends: float, seed: int) -> str:
    """Keep the first finding of corpus, list, histories and fuzzing; all but the last raise it.
    Returns what of them there was no time for.
    """
    first, histories = list(_first_cases(kernel)), list(canned(kernel.limits))
    for done, (case, checks) in enumerate(first):
        if time.monotonic() >= ends:
            left = f"{len(first) - done} of {len(first)} cases of corpus and list"
            return f"{left}, {len(histories)} histories and fuzzing"
        must_pass_shrunk(kernel, case, checks)
    for done, name in enumerate(histories):
        if time.monotonic() >= ends:
            return f"{len(histories) - done} of {len(histories)} histories and fuzzing"
        must_pass_canned(kernel, name, ends)
    if (left := ends - time.monotonic()) > 0:
        fuzz([kernel], left, seed)
    return ""


def _first_cases(kernel: KernelUnderTest) -> Iterator[tuple[Case, str | None]]:
    """The corpus, then the list, which takes a while to make."""
    yield from ((case, "all") for case in promised_cases(our_corpus(), kernel.limits))
    yield from ((case, None) for case in covering_cases(kernel.limits, 2 if kernel.is_slow else 3))


def _started(kernel, only, device, timeout, stack) -> tuple[KernelUnderTest, str]:
    """The kernel in the first process that can load it, and which that is. Raises CannotRun."""
    is_object = not isinstance(kernel, str)
    why = "no module with a file holds the kernel"
    for spec in specs_of(kernel)[:TRIED] if is_object else [kernel]:
        under_test = KernelUnderTest(
            Launch(spec, os.getcwd(), device, only, timeout=timeout),
            called_as=tuple(command_words()),
        )
        stack.callback(_stop, under_test)
        try:
            under_test.worker.start()
        except CannotRun as problem:
            if not is_object:
                raise
            why = str(problem)
        else:
            return under_test, "a worker"
    stack.enter_context(_state_kept())
    return _in_process(kernel, only, device, timeout), f"this process ({why})"


def _stop(under_test: KernelUnderTest) -> None:
    """Its worker, which after fuzzing may be another one than was started first."""
    under_test.worker.stop()


def _in_process(kernel, only, device, timeout) -> KernelUnderTest:
    name = getattr(kernel, "__qualname__", type(kernel).__name__)
    is_backend = isinstance(kernel, Backend)
    backend = as_packed(kernel) if is_backend else from_callable(kernel, name)
    launch = Launch(backend.name, os.getcwd(), device, only, timeout=timeout)
    under_test = KernelUnderTest(launch, in_process=True)
    under_test.worker = InProcess(launch, backend)
    under_test.worker.wait_ready()
    return under_test


@contextlib.contextmanager
def _hypothesis_elsewhere() -> Iterator[None]:
    """No `.hypothesis` in the caller's folder, and the caller's own where it was afterwards."""
    before = getattr(configuration, "__hypothesis_home_directory", None)
    configuration.set_hypothesis_home_dir(hypothesis_home())
    try:
        yield
    finally:
        configuration.set_hypothesis_home_dir(before)


@contextlib.contextmanager
def _state_kept() -> Iterator[None]:
    """Environment, torch's and Triton's settings as they were: a worker has its own."""
    environment, state = dict(os.environ), global_state()
    knobs = getattr(sys.modules.get("triton"), "knobs", None)
    hooks = {name: getattr(knobs.runtime, name) for name in HOOKS} if knobs else {}
    try:
        yield
    finally:
        for name, hook in hooks.items():
            setattr(knobs.runtime, name, hook)
        restore_state(state)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
