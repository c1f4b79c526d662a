"""How configs are compiled and timed: in parallel, one after the other, with a report when slow."""

import contextlib
import functools
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import triton
import triton.testing
from triton.runtime import _async_compile
from triton.runtime.errors import PTXASError

from kernels.custom_autotune import autotuner, timing
from kernels.custom_autotune.timing import Progress, compiling_ahead, measure
from tests.autotune.stub import (
    NO_COMPILATION,
    OUT_OF_RESOURCES,
    Stub,
    call,
    configs_of,
    tuner_of,
)

LIMIT = 10  # seconds after which something that waits has failed


def named(error):
    return type(error).__name__


def raising(error):
    def raise_it():
        raise error

    return raise_it


class CompiledStub(Stub):
    """One that compiles as Triton does: in a mode that gathers work, where there is one."""

    def __init__(self, compile_one, behaviour=None):
        super().__init__(behaviour)
        self.compile_one = compile_one

    def run(self, *args, warmup, **kwargs):
        if not warmup:
            return super().run(*args, warmup=warmup, **kwargs)
        block = kwargs["BLOCK"]
        mode = _async_compile.active_mode.get()
        return mode.submit(block, lambda: self.compile_one(block), lambda kernel: None)


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr(timing.os, "cpu_count", lambda: 4)


@pytest.mark.usefixtures("four_cores")
def test_all_configs_compile_at_once_and_before_the_first_timing_ends(monkeypatch):
    everyone, compiled = threading.Barrier(4), threading.Semaphore(0)

    def compile_one(block):
        everyone.wait(LIMIT)  # broken unless four compile at the same time
        compiled.release()

    def do_bench(launch, **options):
        assert timed or all(compiled.acquire(timeout=LIMIT) for _ in range(4))
        timed.append(launch())
        return [1.0, 1.0, 1.0]

    timed = []
    monkeypatch.setattr(triton.testing, "do_bench", do_bench)
    call(tuner_of(CompiledStub(compile_one), configs_of(16, 32, 64, 128)))
    assert len(timed) == 4


@pytest.mark.bug("L-37 AT-04")
@pytest.mark.usefixtures("benchmarks", "four_cores")
def test_what_does_not_compile_ahead_does_not_end_the_tuning():
    """In a thread of its own, and when launched."""
    errors = {16: NO_COMPILATION, 64: PTXASError("no"), 128: OUT_OF_RESOURCES}

    def compile_one(block):
        if block in errors:
            raise errors[block]

    stub = CompiledStub(compile_one, errors)
    call(tuner_of(stub, configs_of(16, 32, 64, 128)))
    assert stub.blocks[-1] == 32


@pytest.mark.parametrize("error", [NO_COMPILATION, RuntimeError("no")], ids=named)
def test_what_cannot_even_begin_to_compile_is_left_to_its_launch(error):
    begun = []

    def compile_one(config):
        begun.append(config)
        raise error

    with compiling_ahead(compile_one, [1, 2, 3]):
        assert begun == [1, 2, 3]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, None])
def test_no_thread_and_no_mode_outlives_a_tuning(error):
    """Else a later compilation would be handed to threads that are gone."""
    before = threading.active_count()
    with contextlib.suppress(KeyboardInterrupt, ValueError), compiling_ahead(submit, [1, 2]):
        assert threading.active_count() > before
        if error:
            raise error
    assert _async_compile.active_mode.get() is None
    assert threading.active_count() == before


def submit(config):
    _async_compile.active_mode.get().submit(config, str, print)


@pytest.mark.bug("L-29 L-37 AT-04")
@pytest.mark.parametrize("error", [NO_COMPILATION, OUT_OF_RESOURCES, RuntimeError("no")], ids=named)
def test_what_cannot_run_takes_for_ever_and_reports_why(monkeypatch, error):
    """Times that compare with others, and a reason without a traceback."""
    monkeypatch.setattr(triton.testing, "do_bench", lambda launch, **options: launch())
    timing = measure(raising(error))
    assert timing.milliseconds == (math.inf,) * 3
    assert timing.reason == f"{named(error)}: {error}"
    assert not timing.may_pass


@pytest.mark.bug("L-37")
@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 256.00 MiB."),
        RuntimeError("Triton Error [CUDA]: out of memory"),
        PTXASError("`ptxas` failed with error code -9"),
        PTXASError("ptxas fatal   : Memory allocation failure"),
    ],
)
def test_want_of_memory_may_pass(monkeypatch, error):
    monkeypatch.setattr(triton.testing, "do_bench", lambda launch, **options: launch())
    assert measure(raising(error)).may_pass


@pytest.mark.parametrize(
    "error", [TypeError("no"), ValueError("no"), KeyboardInterrupt()], ids=named
)
def test_a_mistake_of_the_caller_is_not_taken_for_a_slow_config(monkeypatch, error):
    monkeypatch.setattr(triton.testing, "do_bench", lambda launch, **options: launch())
    with pytest.raises(type(error)):
        measure(raising(error))


class Clock:
    """Seconds that pass only when a test adds some."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("seconds", "reported"), [(0, False), (1.99, False), (2, True), (61.4, True)]
)
def test_a_tuning_is_reported_after_two_seconds(capsys, seconds, reported):
    clock = Clock()
    progress = Progress("some_kernel", configs_of(16, 32), clock)
    clock.now += seconds
    progress.timing(1, "BLOCK: 32")
    line = f"some_kernel: tuning, config 2 of 2 (BLOCK: 32), {seconds:.0f} s so far\n"
    assert capsys.readouterr() == ("", line if reported else "")


@pytest.mark.parametrize(
    ("each", "lines"), [(0.5, []), (0.7, ["4 of 4"]), (1.5, ["3 of 4", "4 of 4"])]
)
def test_a_slow_tuning_reports_how_far_it_is_and_a_hit_nothing(monkeypatch, capsys, each, lines):
    def do_bench(launch, **options):
        clock.now += each
        return [1.0, 1.0, 1.0]

    clock, tuner = Clock(), tuner_of(Stub(), configs_of(16, 32, 64, 128))
    monkeypatch.setattr(triton.testing, "do_bench", do_bench)
    monkeypatch.setattr(autotuner, "Progress", functools.partial(Progress, clock=clock))
    for _ in range(2):
        call(tuner)
    out, report = capsys.readouterr()
    assert out == ""
    assert [line.split("config ")[1][:6] for line in report.splitlines()] == lines


@pytest.mark.usefixtures("benchmarks")
def test_a_long_tuning_reports_which_config_it_is_at(monkeypatch, capsys):
    monkeypatch.setattr(timing, "SILENT_SECONDS", 0.0)
    call(tuner_of(Stub(), configs_of(16, 32)))
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" (")[0] for line in lines] == [
        "kernel: tuning, config 1 of 2", "kernel: tuning, config 2 of 2",
    ]  # fmt: skip


@pytest.mark.bug("L-39")
def test_two_tuners_do_not_time_at_once(monkeypatch):
    """Of different kernels too, they share the GPU."""
    inside, most = [], []

    def do_bench(launch, **options):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.01)
        inside.pop()
        return [1.0, 1.0, 1.0]

    monkeypatch.setattr(triton.testing, "do_bench", do_bench)
    tuners = [tuner_of(Stub(), configs_of(16, 32, 64)) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(call, tuners))
    assert most == [1] * 6


@pytest.mark.usefixtures("benchmarks")
def test_a_tuned_kernel_runs_where_a_caller_compiles_asynchronously():
    with ThreadPoolExecutor(1) as pool, triton.AsyncCompileMode(pool):
        call(tuner_of(stub := Stub(), configs_of(16, 32)))
    assert stub.blocks[-1] == 16


def test_no_more_threads_compile_than_there_are_cores(monkeypatch):
    counts = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, count):
            counts.append(count)
            super().__init__(count)

    monkeypatch.setattr(timing, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(timing.os, "cpu_count", lambda: 2)
    for configs in ([1], [1, 2, 3]):
        with compiling_ahead(lambda config: None, configs):
            pass
    assert counts == [1, 2]
