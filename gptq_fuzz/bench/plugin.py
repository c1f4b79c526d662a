"""pytest's side of the benchmarks: options, points, where timings are stored, the summary."""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path

import pytest
import torch

from gptq_fuzz.bench import BENCHMARKS
from gptq_fuzz.bench.gate import LEAST_PAIRS
from gptq_fuzz.bench.points import SELECTIONS
from gptq_fuzz.plugin.options import asked_of
from gptq_fuzz.plugin.session import SESSION

PAIRS = 25
AUTOSAVED = "run"  # name in the storage of what nobody named
NOT_TIMED = ("torch",)  # the control: unless it is asked for
RUN = pytest.StashKey()


def pytest_addoption(parser):
    """The options of bench_matmul.py; those of pytest-benchmark stay its own."""
    group = parser.getgroup("gptq-fuzz benchmarks", "bench_matmul.py")
    group.addoption(
        "--points", choices=SELECTIONS, default="quick", help="which problems are timed (quick)"
    )
    group.addoption(
        "--pairs", type=int, default=PAIRS, metavar="N", help=f"timings of each ({PAIRS})"
    )
    group.addoption(
        "--baseline",
        default=str(BENCHMARKS) if BENCHMARKS.is_dir() else "none",
        metavar="PATH",
        help="what --benchmark-save wrote, a folder of that (a checkout: benchmarks), or none",
    )
    group.addoption(
        "--against",
        metavar="REV",
        help="time another commit, or the checkout in a folder, in turn with this tree",
    )
    group.addoption(
        "--bench-output",
        default="results/bench",
        metavar="FOLDER",
        help="table, data and pictures go into a folder in there (results/bench); or none",
    )


def pytest_configure(config):
    """Before pytest-benchmark reads its options: a storage folder per GPU and versions."""
    option = config.option
    is_worker = hasattr(config, "workerinput") or getattr(option, "numprocesses", None)
    if is_worker or option.collectonly or option.help or not _wanted(config):
        return
    if option.baseline != "none" and not Path(option.baseline).exists():
        raise pytest.UsageError(f"--baseline {option.baseline}: there is no such file or folder")
    if option.pairs < LEAST_PAIRS:
        raise pytest.UsageError(f"--pairs {option.pairs}: {LEAST_PAIRS} or more can be compared")
    if asked_of(config).device == "cpu" or not torch.cuda.is_available():
        os.environ.setdefault("TRITON_INTERPRET", "1")
    run = run_of(config)
    storage = option.benchmark_storage.removeprefix("file://")
    option.benchmark_storage = f"file://{Path(storage) / run.folder}"
    if not option.benchmark_save:
        option.benchmark_autosave = option.benchmark_autosave or AUTOSAVED


def _wanted(config) -> bool:
    """Whether bench_matmul.py is named, or found by python_files."""
    named = any("bench_matmul" in word for word in config.args)
    return named or any(
        fnmatch.fnmatch("bench_matmul.py", p) for p in config.getini("python_files")
    )


def run_of(config):
    """The Run of this session, built at the first call. Raises pytest.UsageError."""
    if RUN not in config.stash:
        from gptq_fuzz.bench.against import NoSuchCommit
        from gptq_fuzz.bench.baseline import WrongBaseline
        from gptq_fuzz.bench.run import Run

        try:
            config.stash[RUN] = Run(config.option)
            _ = config.stash[RUN].baseline
        except (NoSuchCommit, WrongBaseline) as problem:
            raise pytest.UsageError(str(problem)) from problem
    return config.stash[RUN]


def points_of(config) -> list:
    """Parameters (kernel, case): each kernel on each problem that it promises to solve."""
    kernels = config.stash[SESSION].kernels
    chosen = {
        spec: kernel
        for spec, kernel in kernels.items()
        if spec not in NOT_TIMED or asked_of(config).kernel
    }
    return [
        pytest.param(spec, case, id=f"{spec}-{case}")
        for case in run_of(config).points()
        for spec, kernel in chosen.items()
        if not kernel.limits.violations(case)
    ]


@pytest.fixture(scope="session")
def bench(request):
    """The Run of this session."""
    return run_of(request.config)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config, machine_info):
    """GPU, driver, torch and triton: what a timing holds for; not the name of one machine."""
    if RUN in config.stash:
        machine_info.pop("node", None)
        machine_info.update(config.stash[RUN].about)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config, benchmarks, output_json):
    """The ceilings of this run; not among what is compared between machines."""
    if RUN in config.stash and config.stash[RUN].facts:
        output_json["ceilings"] = config.stash[RUN].stopwatch.ceilings._asdict()


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    """The table and the gate; then data, table and pictures as files."""
    if RUN not in config.stash or not config.stash[RUN].facts:
        return
    from gptq_fuzz.bench import report

    run = config.stash[RUN]
    report.write(terminalreporter, run)
    if config.option.bench_output == "none":
        return
    written, problem = report.files(_data(config), Path(config.option.bench_output) / run.folder)
    for path in written:
        terminalreporter.write_line(f"wrote {path}")
    if problem:
        terminalreporter.write_line(f"no pictures: {problem}")


def _data(config) -> dict:
    """The run as pytest-benchmark would save it."""
    session, hook = config._benchmarksession, config.hook
    commit = hook.pytest_benchmark_generate_commit_info(config=config)
    data = hook.pytest_benchmark_generate_json(
        config=config,
        benchmarks=session.benchmarks,
        include_data=True,
        machine_info=session.get_machine_info(),
        commit_info=commit,
    )
    hook.pytest_benchmark_update_json(
        config=config, benchmarks=session.benchmarks, output_json=data
    )
    return data


def pytest_unconfigure(config):
    """No process and no worktree outlives the run."""
    if RUN in config.stash:
        config.stash[RUN].close()
