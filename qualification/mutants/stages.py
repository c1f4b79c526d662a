"""The oracles that a mutant is put to, each in a process of its own, the cheapest first.

These functions run in the scratch copy, so they import the suite when they are called.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .hostbuild import PROBLEMS_READ, check_by_runner, refused, use_compiler
from .outcome import Outcome
from .sites import ROOT

VERSION = 1  # raise it when a stage asks for other cases: what is remembered is then void
DRAWN_PER_FILL = 10
DRAWN_WITH_CHECKS = 60
REFUSED = 30
SHRINKING = 1.0  # seconds that a failing line may be simplified for
FAILED, RAISED = "FAILED", "RAISED"
SUITE = ("reference", "tests/suite", "gptq_fuzz/corpus")
# Of kernels/: the families do not know each other, and the tuner knows one kernel.
SHARED_KERNELS = ("kernels/__init__.py", "kernels/checks.py")
EXLLAMA_KERNELS = (
    *SHARED_KERNELS, "kernels/exllama/ext",
    *(f"kernels/exllama{name}.py" for name in ("", "_build", "_linear", "_toolchain")),
)  # fmt: skip
TUNER_KERNELS = (
    *SHARED_KERNELS, "kernels/packing.py", "kernels/triton_matmul.py",
    *(f"kernels/{name}.py" for name in (
        "autotune_key", "autotune_store", "autotune_timing", "config_pruner", "custom_autotune",
        "launch_path")),
)  # fmt: skip
KERNELS_READ = {  # by the beginning of a test file's name; others read all
    "tests/test_exllama": EXLLAMA_KERNELS,
    "tests/test_host": EXLLAMA_KERNELS,
    "tests/test_autotune": TUNER_KERNELS,
    "tests/test_pruner": TUNER_KERNELS,
}
SUITE_READS = ("kernels", *SUITE)
HELPERS = (
    "autotune_faults", "autotune_model", "autotune_runner", "autotune_session", "autotune_stub",
    "autotune_world", "exllama_faults", "exllama_layers", "exllama_parts", "exllama_refusals",
    "exllama_steps", "grouped_parts",
)  # fmt: skip
TEST_READS = (
    *SUITE, "conftest.py", "pyproject.toml", "tests/__init__.py", "tests/layers.py",
    *(f"tests/{name}.py" for name in HELPERS),
    "tests/host_build",
)  # fmt: skip
MEASURED = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("benchmarks/NVIDIA_*"))
READS_MORE = {  # of test files: what they read beside TEST_READS
    **dict.fromkeys(
        (f"tests/test_{name}.py" for name in ("grouped_dense", "grouped_steps", "matmul248")),
        ("tests/end_of_memory.py",),
    ),
    "tests/test_widths.py": ("qualification/aot",),
    "tests/test_measured.py": ("qualification/aot", "gptq_fuzz/bench", "benchmarks/aot", *MEASURED),
}
META_READS = (
    *SUITE_READS, "conftest.py", "pyproject.toml", "gptq_fuzz/museum",
    "tests/test_conformance.py", "tests/speed.py", "tests/suite/__init__.py", "tests/suite/actor.py",
)  # fmt: skip


# Tests that take much longer than the rest of their file: stages of their own, the last ones.
ALONE = ("tests/test_exllama_refusals.py::test_many_rounds_leave_no_memory_behind",)
# Hypothesis was imported before the fork, so pytest cannot rewrite its assertions.
PYTEST = (
    "-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0",
    "-W", "ignore:Module already imported",
)  # fmt: skip
IN_PROCESS = ("--in-process",)  # the suite's: no worker is started beside the tests


@dataclass(frozen=True)
class Stage:
    """`run(tell)` returns an Outcome. `reads` are the files that this depends on.

    `tell(at=text)` says what is being tried, `tell(note=dict)` goes into the outcome's notes.
    """

    name: str
    reads: tuple[str, ...]
    run: Callable[[Callable], Outcome]

    @property
    def told(self) -> str:
        """What its outcomes call it: its name without options."""
        return self.name.partition(" --")[0]


def suite_stage(name: str, wanted: Callable, spec: str = "triton") -> Stage:
    """A backend asked by the suite's worker: `wanted(limits)` gives (case, checks)."""

    def run(tell) -> Outcome:
        from gptq_fuzz.worker.served import Served

        tell(at="start")
        if spec == "exllama":
            use_compiler()
        try:
            served = Served({"spec": spec, "started_in": ".", "device": "cpu", "zones": True})
        except Exception as problem:  # noqa: BLE001 - what is no refusal is raised again
            return refused(name, problem)
        return first_failure(name, served, wanted(served.backend.limits), tell)

    return Stage(name, read_by(spec), run)


def read_by(spec: str) -> tuple[str, ...]:
    """What a backend's verdicts on drawn cases depend on."""
    return (*EXLLAMA_KERNELS, *SUITE) if spec == "exllama" else SUITE_READS


def first_failure(name: str, served, questions: Iterable, tell) -> Outcome:
    """The first case that fails, made simpler for a moment; or that none did."""
    for case, checks in questions:
        tell(at=str(case))
        verdict = served.judge({"line": str(case), "checks": checks, "calls": 1, "seconds": 2.0})
        if not verdict.ok:
            verdict = simplest(served, case, verdict)
            seen_by = verdict.check if verdict.check != "value" else _fill_of(verdict.line, served)
            return Outcome(name, verdict.kind, seen_by, verdict.line, verdict.message[:200])
    return Outcome(name)


def _fill_of(line: str, served) -> str:
    from gptq_fuzz.case.case import Case

    return Case.parse(line, served.backend.limits.tokens).fill


def simplest(served, case, verdict):
    """What single steps from `case` still let fail in the same way, until the time is up."""
    import time

    from gptq_fuzz.search.minimise import simpler

    checks = () if verdict.check == "value" else (verdict.check,)
    ends = time.monotonic() + SHRINKING
    limits = served.backend.limits
    progress = True
    while progress:
        progress = False
        for candidate in simpler(case, limits):
            if time.monotonic() > ends:
                return verdict
            asked = {"line": str(candidate), "checks": checks, "calls": 1, "seconds": 1.0}
            found = served.judge(asked)
            if not found.ok and found.kind == verdict.kind:
                case, verdict, progress = candidate, found, True
                break
    return verdict


def corpus(limits) -> Iterable:
    """Every line of the corpus that the backend promises, its values alone."""
    from gptq_fuzz.case.case import Case
    from gptq_fuzz.case.corpus import our_corpus

    for line in our_corpus():
        try:
            case = Case.parse(line, limits.tokens)
        except ValueError:
            continue  # tokens of another kernel
        if not limits.violations(case) and (not case.bad or case.bad in limits.bad):
            yield case, ()


def drawn_values(limits) -> Iterable:
    """Cases of every fill, and some that must be refused."""
    from gptq_fuzz.search.strategies import cases, refusals

    for fill in limits.fills:
        yield from ((case, ()) for case in draw(cases(limits, fill=fill), DRAWN_PER_FILL))
    yield from ((case, ()) for case in draw(refusals(limits), REFUSED))


def drawn_checks(limits) -> Iterable:
    """The corpus and drawn cases again, each with one of the relations."""
    from gptq_fuzz.search.strategies import cases

    yield from ((case, None) for case in draw(cases(limits), DRAWN_WITH_CHECKS))
    yield from ((case, None) for case, _ in corpus(limits))


def draw(strategy, count: int, at: int | None = None) -> list:
    """What Hypothesis draws from one seed, which the strategy's text gives unless it is given."""
    from hypothesis import HealthCheck, Phase, given, seed, settings

    found = []

    @seed(zlib.crc32(repr(strategy).encode()) if at is None else at)
    @settings(
        max_examples=count, deadline=None, database=None, derandomize=False,
        phases=(Phase.generate,), suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def collect(case):
        found.append(case)

    collect()
    return found


def file_stage(path: str, reads=None, options=IN_PROCESS) -> Stage:
    """One test file, or one test, up to its first failure, by the same seed every time.

    A file's tests that are stages of their own are left out.
    """
    file = path.partition("::")[0]
    left_out = [word for test in ALONE if test != path for word in ("--deselect", test)]
    left_out = left_out if any(test.startswith(f"{path}::") for test in ALONE) else []

    def run(tell) -> Outcome:
        import pytest

        tell(at=path)
        use_compiler()  # --in-process starts every kernel, so it builds or finds the extension
        first = FirstFailure()
        status = pytest.main([*PYTEST, *options, *left_out, path], plugins=[first])
        if status == pytest.ExitCode.OK:
            return Outcome(path)
        where, _, message = first.told.partition("\n")
        return Outcome(path, FAILED, "test", where or path, message[:200] or f"exit {status:d}")

    reads = (*_kernels_read(path), *TEST_READS) if reads is None else reads
    more = READS_MORE.get(path, ())
    return Stage(" ".join((path, *left_out)), (*reads, *more, file), run)


def _kernels_read(path: str) -> tuple[str, ...]:
    return next(
        (read for name, read in KERNELS_READ.items() if path.startswith(name)), ("kernels",)
    )


class FirstFailure:
    """pytest plug-in: the first test, or file, that failed."""

    def __init__(self):
        self.told = ""

    def pytest_runtest_logreport(self, report):
        self._note(report)

    def pytest_collectreport(self, report):
        self._note(report)

    def _note(self, report):
        if report.failed and not self.told:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = crash.message if crash else str(report.longrepr)
            self.told = f"{report.nodeid}\n{' '.join(message.split())}"


CORPUS = suite_stage("corpus", corpus)
DRAWN = suite_stage("drawn", drawn_values)
CHECKS = suite_stage("checks", drawn_checks)
EXLLAMA = tuple(
    suite_stage(f"exllama {name}", wanted, "exllama")
    for name, wanted in (("corpus", corpus), ("drawn", drawn_values), ("checks", drawn_checks))
)
BY_RUNNER = Stage(
    "runner", ("kernels/exllama/ext", *PROBLEMS_READ, "tests/host_build"),
    lambda tell: check_by_runner("runner", tell),
)  # fmt: skip


def existing(root: Path, *patterns: str) -> list[str]:
    """Test files by pattern, in the order of the patterns."""
    found = [path for pattern in patterns for path in sorted(root.glob(pattern))]
    return list(dict.fromkeys(path.relative_to(root).as_posix() for path in found))
