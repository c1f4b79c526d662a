"""Runs calls on real tuners over the fake machine, and reports how they differ from what is due."""

from __future__ import annotations

import gc
import os
import tempfile
import threading
import warnings
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch
import triton
from triton.errors import TritonError

from kernels.custom_autotune import Autotuner, config_pruner
from tests.autotune.model import CONFIGS, HOOKS, Call, Expected, Model
from tests.autotune.world import (
    BLOCKS,
    DTYPES,
    FILL,
    NAMES,
    FakeKernel,
    FakeTensor,
    WatchedStore,
    World,
    WrappedKernel,
    files_in,
)

ERRORS = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, OSError, TritonError)
VERSIONED = {"triton": triton, "torch": torch}


class Mismatch(AssertionError):
    """Tuner and model disagree."""


class Seen(NamedTuple):
    """What a call did: its error, what was logged meanwhile, its tensors afterwards."""

    error: str
    log: list
    x: float
    out: float
    arguments: tuple
    is_alive: bool  # a tensor of the call, after it

    def of(self, kind, timed=False):
        return [event for event in self.log if (event.kind, event.timed) == (kind, timed)]


class Runner:
    """Tuners of two processes that share a folder, and the model that knows what is due."""

    def __init__(self):
        self.world = World()
        self.place = Path(tempfile.mkdtemp(prefix="autotune-"))
        self.folder = self.place / "kept"
        self.paths = {}  # key of the model -> path of its file
        self.model = Model("pruned", direct=True)
        self.tuners = []

    def run(self, call: Call, warmup=False) -> Seen:
        """One call, and what is known of it when all its tensors are gone."""
        tuner, me = self.tuners[call.process], threading.get_ident()
        dtype = DTYPES[call.dtype]
        x = FakeTensor.make(dtype, call.device, first=int(call.misaligned))
        out = FakeTensor.make(dtype, call.device)
        given = dict(zip(NAMES, (x, out, *call.exact), strict=False))
        arguments, alive = (id(x), id(out), *call.exact), [weakref.ref(x), weakref.ref(out)]
        if call.bits is None:
            del given["bits"]
        args = tuple(given.values())[: call.by_position]
        kwargs = dict(list(given.items())[call.by_position :])
        self.world.calls[me], self.world.logs[me], error = call, [], ""
        try:
            launch = tuner.warmup if warmup else tuner.run
            launch(*args, grid=_grid, **kwargs)
        except ERRORS as problem:
            error = type(problem).__name__
        x_holds, out_holds = float(x[0]), float(out[0])
        del x, out, given, args, kwargs
        if any(ref() is not None for ref in alive):
            gc.collect()
        is_alive = any(ref() is not None for ref in alive)
        return Seen(error, self.world.logs[me], x_holds, out_holds, arguments, is_alive)

    def run_together(self, calls) -> list[Seen]:
        """The calls at the same time, each in a thread of its own."""
        start = threading.Barrier(len(calls))

        def run(call):
            start.wait()
            return self.run(call)

        self.world.crowd = threading.Event()
        with ThreadPoolExecutor(len(calls)) as pool:
            seen = list(pool.map(run, calls))
        self.world.crowd = None
        return seen

    def compare(self, calls, expected, act) -> None:
        """Mismatch unless `act()`, which runs the calls, does what is expected of them."""
        self.world.overlaps, before = 0, files_in(self.folder)
        release = self.model.processes[calls[0].process].release
        with ExitStack() as stack:
            if release in VERSIONED:
                stack.enter_context(mock.patch.object(VERSIONED[release], "__version__", "0.0"))
            if release == "environment":
                stack.enter_context(mock.patch.dict(os.environ, DISABLE_PTXAS_OPT="1"))
            caught = stack.enter_context(warnings.catch_warnings(record=True))
            warnings.simplefilter("always")
            seen = act()
        after = files_in(self.folder)
        problems = [
            f"{call}: {problem}"
            for call, due, done in zip(calls, expected, seen, strict=True)
            for problem in problems_of(due, done)
        ]
        changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
        problems += self._problems_together(calls, expected, seen, changed)
        problems += _problems_of_warnings(expected, caught)
        if problems:
            raise Mismatch("\n".join(problems))

    def _problems_together(self, calls, expected, seen, changed):
        """What is counted over all calls of a step: one of them may do it for the others."""
        timed = sum(len(done.of("bench", timed=True)) for done in seen)
        due = sum(one.benchmarks for one in expected)
        if timed != due:
            yield f"{timed} configs were timed, wanted {due}"
        if self.world.overlaps:
            yield "two benchmarks ran at the same time"
        saved = []
        for call, done in zip(calls, seen, strict=True):
            for event in done.of("save"):
                saved.append(self.model.key(call, self.model.pruned(call)))
                self.paths[saved[-1]] = event.path
        due = [key for one in expected for key in one.saved]
        if Counter(saved) != Counter(due) or changed != {self.paths[key] for key in saved}:
            yield f"wrote {sorted(changed)} for {saved}, wanted {due}"
        for tuner, memory in zip(self.tuners, self.model.processes, strict=True):
            kept, due = (sorted(map(len, one.values())) for one in (tuner.cache, memory.winners))
            if kept != due:
                yield f"winners kept for {kept} calls of each bucket, wanted {due}"

    def new_tuner(self, release):
        """As in a process that has just started."""
        kernel = FakeKernel if self.model.direct else WrappedKernel
        source = "other source" if release == "source" else "source"
        kind = self.model.kind
        configs = [
            triton.Config(
                dict(zip(BLOCKS, config, strict=False)), num_warps=config.warps,
                num_stages=config.stages, maxnreg=config.registers,
                pre_hook=self.world.hooks[config.stages],
            )
            for config in CONFIGS[: 1 if kind == "single" else None]
        ]  # fmt: skip
        tuner = Autotuner(
            kernel(self.world, source), NAMES, configs, ["M", "N", "K", "bits"], ["out"],
            _pruning(kind), nearest_power_of_two=True, restore_value=(),
        )  # fmt: skip
        tuner.timed = kind != "untimed"
        tuner.store = WatchedStore(self.folder, self.world)
        return tuner


def problems_of(due: Expected, done: Seen):
    """How a call differs from what is due."""
    if done.error != due.raises:
        yield f"raised {done.error or 'nothing'}, wanted {due.raises or 'nothing'}"
    launched = [event.options for event in done.of("launch")]
    if launched != due.launches:
        yield f"launched {launched}, wanted {due.launches}"
    compiled = [event.options for event in done.of("compile")]
    if due.compiled and compiled != due.compiled:
        yield f"compiled {compiled}, wanted {due.compiled}"
    if launched and not done.error and done.out != 1:
        yield f"out holds {done.out}, wanted 1.0"
    if done.x != FILL:
        yield f"x holds {done.x}, wanted {FILL}"
    if done.is_alive:
        yield "a tensor is alive after the call"
    for event in done.log:
        if event.arguments and event.arguments != done.arguments:
            yield f"{event.kind} saw {event.arguments}, the call had {done.arguments}"
        if event.problem:
            yield f"{event.kind} {event.problem}"
    yield from _problems_of_hooks(done.log)


def _problems_of_hooks(log):
    """Before every launch, timed or not, its config's hook ran once and `out` was zeroed."""
    ran = []
    for event in log:
        if event.kind == "hook":
            ran.append((event.hook, event.options))
        elif event.kind == "launch":
            hook = HOOKS[event.options.stages]
            due = [(hook, event.options)] if hook else []
            if ran != due:
                yield f"hooks before a launch: {ran}, wanted {due}"
            if event.before != 0:
                yield f"out held {event.before} before a launch, wanted 0.0"
            ran = []
    if ran:
        yield f"hooks without a launch: {ran}"


def _problems_of_warnings(expected, caught):
    texts = [str(warning.message) for warning in caught]
    for words, name in (("ignored the tuning result", "ignored"), ("could not keep", "unsaved")):
        count = sum(text.startswith(words) for text in texts)
        due = sum(getattr(one, name) for one in expected)
        if count != due:
            yield f"{count} warnings of files {name}, wanted {due}: {texts}"
    strange = {warning.category.__name__ for warning in caught} - {"RuntimeWarning"}
    if strange:
        yield f"warnings {strange}: {texts}"


def _grid(given):
    return (-(-given["M"] // given["BLOCK_SIZE_M"]),)


def _pruning(kind):
    if kind == "plain":
        return None
    if kind == "divides":
        return {"early_config_prune": _dividing}
    pruner = {"early_config_prune": config_pruner.matmul248_kernel_config_pruner}
    return {**pruner, "perf_model": _larger_first, "top_k": 2} if kind == "ranked" else pruner


def _dividing(configs, given):
    return (config for config in configs if given["K"] % config.kwargs["BLOCK_SIZE_K"] == 0)


def _larger_first(BLOCK_SIZE_M, **others):
    return -BLOCK_SIZE_M
