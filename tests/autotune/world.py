"""A machine to run the autotuner on: devices, a compiler and a clock of our own; no GPU.

All that happens is written to a log, one per thread.
"""

from __future__ import annotations

import ast
import contextlib
import os
import threading
from collections import defaultdict
from types import SimpleNamespace
from typing import NamedTuple
from unittest import mock

import torch
import triton
import triton.testing
from triton.compiler.errors import CompilationError
from triton.runtime.errors import OutOfResources

from kernels import checks
from kernels.custom_autotune import launch_path
from kernels.custom_autotune.store import Store
from tests.autotune.model import ARGUMENTS, DEFAULT_BITS, DEVICES, HOOKS, Options, cost

BLOCKS = ("BLOCK_SIZE_M", "BLOCK_SIZE_N", "BLOCK_SIZE_K")
TENSORS, NUMBERS = ARGUMENTS[:2], ARGUMENTS[2:]
NAMES = (*ARGUMENTS, *BLOCKS)
DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}
ALIGNMENT = 16
FILL = 7.0  # what tensors hold before a call
MOMENT = 0.005  # seconds: long enough for another thread to come by


class FakeTensor(torch.Tensor):
    """A tensor in the memory of the host that claims to lie on `place`."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: self.place)

    def get_device(self):
        return self.place.index

    @classmethod
    def make(cls, dtype, device, first=0):
        tensor = torch.full((4 + first,), FILL, dtype=dtype)[first:].as_subclass(cls)
        tensor.place = torch.device("cuda", device)
        return tensor


class Event(NamedTuple):
    """hook, launch, compile, bench or save; of which config, with which arguments."""

    kind: str
    options: Options | None
    arguments: tuple = ()
    hook: str = ""
    before: float = 0.0  # what was in `out`
    timed: bool = False
    problem: str = ""
    path: str = ""


def options_of(given) -> Options:
    blocks = (given[name] for name in BLOCKS)
    return Options(*blocks, given["num_warps"], given["num_stages"], given.get("maxnreg"))


def arguments_of(given) -> tuple:
    """Differs between the calls of a step, and holds no tensor."""
    numbers = (given[name] for name in NUMBERS)
    return (*(id(given[name]) for name in TENSORS), *numbers)


class FakeKernel(triton.KernelInterface):
    """Adds one to `out`; `world` decides which configs fail, and how."""

    arg_names = NAMES
    pre_run_hooks = ()

    def __init__(self, world: World, source: str):
        self.world, self.cache_key = world, source
        self.__name__ = "fake_kernel"
        self.fn = _plain_function
        plain = ("N",)  # do_not_specialize of an integer
        self.params = [
            SimpleNamespace(
                name=name, is_constexpr=name in ("bits", *BLOCKS), do_not_specialize=name in plain
            )
            for name in NAMES
        ]

    def warmup(self, *args, grid, **kwargs):
        given = _bound(args, kwargs)
        self.world.note("compile", options_of(given), arguments_of(given))
        self.world.fail(options_of(given), ("compile",))

    def run(self, *args, grid, warmup, **kwargs):
        given = _bound(args, kwargs)
        compiled = FakeCompiled(self.world, given)
        self.world.launched(given, grid, compiled.options)
        return compiled


class WrappedKernel(FakeKernel):
    """One that the tuner cannot launch past, as `triton.heuristics` makes them."""


class FakeCompiled:
    """A kernel compiled for one config and for the kinds of one call's arguments."""

    metadata = SimpleNamespace(target=SimpleNamespace(backend="cuda"))
    function = packed_metadata = launch_metadata = None

    def __init__(self, world: World, given: dict):
        self.world, self.options = world, options_of(given)
        self.compiled_for = _kinds(given)

    def run(self, x, y, z, stream, function, packed, metadata, enter, leave, *values):
        given = dict(zip(NAMES, values, strict=True))
        options = self.options._asdict()
        sides = {name: given[name] for name in BLOCKS}
        problem = (
            "" if _kinds(given) == self.compiled_for else "of a kernel compiled for other kinds"
        )
        if tuple(sides.values()) != self.options[:3]:
            problem = f"of {options} with {sides}"
        self.world.launched(given, (x,), self.options, problem, loaded=True)


def _plain_function(
    x, out, M, N, K, bits=DEFAULT_BITS, BLOCK_SIZE_M=0, BLOCK_SIZE_N=0, BLOCK_SIZE_K=0
):  # fmt: skip
    raise AssertionError("only its signature is looked at")


def _bound(args, kwargs):
    return {"bits": DEFAULT_BITS, **dict(zip(NAMES, args, strict=False)), **kwargs}


def _kinds(given):
    """All that Triton compiles anew for."""
    tensors = [
        (given[name].dtype, given[name].data_ptr() % ALIGNMENT, given[name].device)
        for name in TENSORS
    ]
    sides = [(given[name] == 1, given[name] % ALIGNMENT == 0) for name in ("M", "K")]
    return (*tensors, *sides, given["bits"])


class World:
    """Stands in for GPU, driver, compiler and clock until closed."""

    def __init__(self):
        self.failing = {}  # stages of a config -> kind of error
        self.capturing = self.readonly = False
        self.crowd = None  # while there are other threads: set once two of them benchmark
        self.logs = defaultdict(list)  # thread -> its Events
        self.overlaps = 0  # benchmarks that began while another one ran
        self.patches = contextlib.ExitStack()
        self.calls = {}  # thread -> its Call
        self.hooks = {stages: self._hook(name) for stages, name in HOOKS.items()}
        self._timing = set()  # threads inside a benchmark
        self._written = {}  # thread -> where its benchmark wrote
        self._put_in_place = os.replace
        device = SimpleNamespace(get_current_device=lambda: 0, get_current_stream=lambda device: 0)
        self.replace(launch_path, "triton", SimpleNamespace(JITFunction=FakeKernel))
        self.replace(launch_path, "CompiledKernel", FakeCompiled)
        self.replace(launch_path, "driver", SimpleNamespace(active=device))
        self.replace(checks, "is_capturing", lambda device=None: self.capturing)
        self.replace(torch.cuda, "get_device_name", lambda device: DEVICES[device.index])
        self.replace(torch.cuda, "get_device_capability", lambda device: (9, 0))
        self.replace(triton.testing, "do_bench", self.do_bench)
        self.replace(os, "replace", self.put_in_place)

    def replace(self, owner, name, value):
        self.patches.enter_context(mock.patch.object(owner, name, value))

    @property
    def log(self):
        return self.logs[threading.get_ident()]

    def note(self, kind, options=None, arguments=(), **more):
        timed = threading.get_ident() in self._timing
        self.log.append(Event(kind, options, arguments, timed=timed, **more))

    def fail(self, options, kinds):
        kind = self.failing.get(options.stages)
        if kind not in kinds:
            return
        if kind == "oor":
            raise OutOfResources(2, 1, "shared memory")
        if kind == "compile":
            raise CompilationError("", ast.Pass(lineno=1, col_offset=0), "")
        if kind == "oom":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        raise RuntimeError("an illegal memory access was encountered")

    def _hook(self, name):
        """A pre_hook, for a config; None for a config without."""

        def pre_hook(given):
            self.note("hook", options_of(given), arguments_of(given), hook=name)

        return name and pre_hook

    def launched(self, given, grid, options, problem="", loaded=False):
        if callable(grid):
            grid = grid(given)
        if grid != (-(-given["M"] // given["BLOCK_SIZE_M"]),):
            problem = problem or f"on the grid {grid}"
        before = float(given["out"][0])
        self.note("launch", options, arguments_of(given), before=before, problem=problem)
        if not loaded:
            self.fail(options, ("oor", "compile", "crash", "oom"))
        given["out"] += 1
        if threading.get_ident() in self._timing:
            self._written[threading.get_ident()] = given["out"]

    def do_bench(self, launch, **options):
        """Launch twice, as the real one does at least, and read the clock; poison the result."""
        me, alone = threading.get_ident(), not self._timing
        self.overlaps += not alone
        self._timing.add(me)
        try:
            self.note("bench")
            if self.crowd and alone:
                self.crowd.wait(MOMENT)
            elif self.crowd:
                self.crowd.set()
            launch()
            launch()
            milliseconds = cost(self.log[-1].options, self.calls[me])
        finally:
            self._timing.discard(me)
            if me in self._written:
                self._written.pop(me).fill_(float("nan"))
        return [milliseconds] * len(options["quantiles"])

    def put_in_place(self, *args, **kwargs):
        if self.readonly:
            raise PermissionError("the folder is read-only")
        return self._put_in_place(*args, **kwargs)


class WatchedStore(Store):
    """A store that notes which file each `save` has written."""

    def __init__(self, folder, world):
        super().__init__(folder)
        self.world = world

    def save(self, *result):
        before = files_in(self.folder)
        super().save(*result)
        for path, state in files_in(self.folder).items():
            if state != before.get(path):
                self.world.note("save", path=path)


def files_in(folder) -> dict[str, tuple]:
    """Files by path, with what changes when one is written."""
    if not os.path.isdir(folder):
        return {}
    states = {entry.path: entry.stat(follow_symlinks=False) for entry in os.scandir(folder)}
    return {path: (state.st_ino, state.st_mtime_ns) for path, state in states.items()}
