"""The tuner's probe: launches of a stub by two tuners that share what they keep."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from types import SimpleNamespace

from .observed import answer_of, seeds_of


def tunings(seed: int) -> Iterator[bytes]:
    """How tuners launch a stub: configs, options, hooks, what is kept; calls of many kinds."""
    import triton.testing

    from tests.autotune_stub import Stub

    def do_bench(call, **options):
        call()
        return [Stub.latest.behaviour.get(Stub.latest.blocks[-1], 1.0)] * 3

    triton.testing.do_bench = do_bench
    for at in seeds_of(seed):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["GPTQ_AUTOTUNE_CACHE_DIR"] = folder
            yield f"{at} {_script(random.Random(at))}".encode()


def _script(chance: random.Random) -> str:
    """Two tuners that share a folder, a few calls, and all that could be seen of them."""
    import torch

    stubs, hooks, told = _stubs(chance), [], [_kept_hook(chance)]
    tuners = _tuners(chance, stubs, hooks)
    for _ in range(chance.randint(1, 5)):
        out = torch.ones(2)
        x = torch.ones(2, dtype=chance.choice([torch.float16, torch.float32]))
        sizes = {name: chance.choice([1, 2, 3, 16]) for name in "MNK"}
        number = chance.randrange(2)
        ask = chance.choice([_run, _run, _run, _warm_up, _time])
        given = {"x": x, "out": out, **sizes}
        told.append(answer_of(lambda a=ask, t=tuners[number], g=given: a(t, g)))
        told += [out.tolist(), _launches(stubs[number])[-1:], hooks[-1:], len(hooks)]
    keys = [len(winners) for tuner in tuners for winners in tuner.cache.values()]
    return f"{told} {[_launches(stub) for stub in stubs]} {keys}"


def _launches(stub) -> list[list]:
    """In order; but what is only compiled, side by side, comes first, in an order of its own."""
    told = [sorted(launch.items()) for launch in stub.launches]  # else by the hash of a process
    compiled = [launch for launch in told if ("warmup", True) in launch]
    return [*sorted(compiled, key=str), *(launch for launch in told if launch not in compiled)]


def _run(tuner, given: dict):
    return tuner[(1,)](**given)


def _warm_up(tuner, given: dict):
    return tuner.warmup(**given)


def _time(tuner, given: dict):
    return tuner._bench(config=tuner.configs[0], grid=(1,), **given)


def _kept_hook(chance: random.Random) -> bool:
    """Whether Triton's hook, a function or a chain of them, is called at a launch."""
    from kernels.launch_path import _or_none

    hook = chance.choice([None, print, SimpleNamespace(calls=[]), SimpleNamespace(calls=[print])])
    return _or_none(hook) is not None


def _stubs(chance: random.Random) -> list:
    """Two of the same kernel, whose configs cost the same."""
    from triton.runtime.errors import OutOfResources

    from tests.autotune_stub import KeptStub

    blocks = chance.sample([16, 32, 64, 128], chance.randint(1, 4))
    costs = {block: chance.choice([1.0, 2.0, 3.0]) for block in blocks}
    failing = chance.choice([None, None, *blocks])
    if failing:
        costs[failing] = OutOfResources(2, 1, "shared memory")
    return [KeptStub(costs), KeptStub(costs)]


def _tuners(chance: random.Random, stubs: list, hooks: list) -> list:
    """A tuner of each stub, made alike."""
    from tests.autotune_stub import configs_of, tuner_of

    hook = chance.choice([None, lambda given: hooks.append(sorted(given))])
    pruning = {"top_k": chance.choice([None, 1, 2, 0.5])}
    if chance.random() < 0.5:
        pruning["early_config_prune"] = lambda configs, given: configs[: given["M"]]
    key, reset = chance.choice([["M"], ["M", "N"]]), chance.choice([None, ["out"]])
    rounded = chance.random() < 0.5
    return [
        tuner_of(
            stub, configs_of(*stub.behaviour, pre_hook=hook), key, reset,
            prune_configs_by=pruning, nearest_power_of_two=rounded,
        )
        for stub in stubs
    ]  # fmt: skip
