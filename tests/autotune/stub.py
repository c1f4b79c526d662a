"""A fake kernel and a fake clock, to watch the autotuner without a GPU."""

import ast

import pytest
import torch
import triton
import triton.testing
from triton.compiler.errors import CompilationError
from triton.runtime.errors import OutOfResources

from kernels.custom_autotune import Autotuner

OUT_OF_RESOURCES = OutOfResources(2, 1, "shared memory")
NO_COMPILATION = CompilationError("", ast.Pass(lineno=1, col_offset=0), "")
NAMES = ("x", "out", "M", "N", "K", "bits", "BLOCK")


class Stub:
    """A fake kernel: notes how it is launched; `behaviour` of a config is its error or its cost."""

    arg_names = NAMES
    latest = None  # the stub launched last

    def __init__(self, behaviour=None):
        self.behaviour = behaviour or {}
        self.launches = []

    def run(self, *args, **kwargs):
        Stub.latest = self
        self.launches.append({name: kwargs[name] for name in kwargs.keys() - {"x", "out"}})
        outcome = self.behaviour.get(kwargs["BLOCK"], 1.0)
        if isinstance(outcome, Exception) and not kwargs["warmup"]:
            raise outcome.with_traceback(None)
        arguments = dict(zip(NAMES, args, strict=False)) | kwargs
        if arguments.get("out") is not None and not kwargs["warmup"]:
            arguments["out"] += 1

    @property
    def blocks(self):
        return [launch["BLOCK"] for launch in self.launches]


class KeptStub(Stub):
    """One whose winners are kept on disk, as it has a source that identifies it."""

    def __init__(self, behaviour=None, source="source"):
        super().__init__(behaviour)
        self.cache_key, self.__name__ = source, "kept_stub"


@pytest.fixture
def benchmarks(monkeypatch):
    """do_bench that launches twice and reads the cost from the stub; the arguments it got."""
    calls = []

    def do_bench(call, **options):
        calls.append(options)
        call()
        call()
        cost = Stub.latest.behaviour.get(Stub.latest.blocks[-1], 1.0)
        return [cost, cost, cost]

    monkeypatch.setattr(triton.testing, "do_bench", do_bench)
    return calls


def configs_of(*blocks, **options):
    return [triton.Config({"BLOCK": block}, **options) for block in blocks]


def tuner_of(stub, configs, key=("M", "N", "K"), reset_to_zero=None, **options):
    return Autotuner(stub, NAMES, configs, list(key), reset_to_zero, **options)


def call(tuner, m=4, n=8, k=8, **arguments):
    arguments = {"x": torch.ones(2), "M": m, "N": n, "K": k} | arguments
    return tuner[(1,)](**arguments)
