"""What can be observed of our code in 10^4 cases, as hashes: how two versions of it are compared.

A probe of a seed yields the bytes of BLOCK cases; it runs in a scratch copy of the tree.
"""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from .hostbuild import refused, use_compiler
from .outcome import Outcome
from .stages import META_READS, SUITE_READS, Stage, draw, read_by

OWN_TEXT = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]  # other cases, other results
BLOCK = 250  # cases of one seed, for which one hash is kept: where two versions differ first
BLOCKS_PER_PART = 4
PARTS = 10  # 10^4 cases
MOST_TILES = 6  # of a problem: many small ones tell more than a few large ones


def probe_stage(name: str, part: int) -> Stage:
    """Hashes of a part of a probe's cases, one for each seed, in the notes of its outcome."""
    probe, reads = PROBES[name]
    first = part * BLOCKS_PER_PART

    def run(tell) -> Outcome:
        for seed in range(first + 1, first + BLOCKS_PER_PART + 1):
            try:
                tell(at=f"seed {seed}", note={"seed": seed, **_hashed(probe(seed))})
            except Exception as problem:  # noqa: BLE001 - what is no refusal is raised again
                return refused(name, problem)
        return Outcome(name)

    return Stage(f"probe {name} {part} {OWN_TEXT}", reads, run)


def _hashed(cases: Iterator[bytes]) -> dict:
    block, count = hashlib.sha256(), 0
    for observed in cases:
        block.update(observed + b"\n")
        count += 1
    return {"cases": count, "hash": block.hexdigest()}


def _seeds(seed: int) -> range:
    """Those of single cases in the block of one seed."""
    return range((seed - 1) * BLOCK, seed * BLOCK)


def calls(seed: int) -> Iterator[bytes]:
    """What Backend `triton` answers: bits, or the exception; and what pruning leaves."""
    return _calls(seed)


def grouped_calls(seed: int) -> Iterator[bytes]:
    """The same by the kernels for groups of one size, where the weights allow them."""
    from tests.suite.triton_backend import TILE_NAMES, TRITON

    (token,) = TRITON.limits.tokens
    return _calls(
        seed, bits=(4,), g_idx=("seq", "act"), group_sizes=(32, 64, -1, 128), backward=False,
        tokens=(replace(token, values=TILE_NAMES, optional=False),),
    )  # fmt: skip


def _calls(seed: int, **narrower) -> Iterator[bytes]:
    from tests.suite.bad import invalidate
    from tests.suite.operands import Operands
    from tests.suite.strategies import cases, refusals
    from tests.suite.triton_backend import TRITON, matmul_248_kernel

    limits = replace(
        TRITON.limits, dtypes=("f16",), scales_dtypes=("sf16", "sf32"), max_tiles=MOST_TILES
    )
    limits = replace(limits, **narrower)
    for case in draw(refusals(limits) if seed % 8 == 0 else cases(limits), BLOCK, seed):
        operands = Operands(case, "cpu")
        left, weights = invalidate(case, operands.left, operands.weights())
        shape = {"M": max(case.m, 1), "N": case.n, "K": case.k}
        pruned = [config.all_kwargs() for config in matmul_248_kernel.prune_configs(shape)]
        answer = _answer(lambda c=case, x=left, w=weights: TRITON.call(c, x, w))
        yield f"{case} {pruned} {answer} {operands.damage()}".encode()


def extension_calls(seed: int) -> Iterator[bytes]:
    """What the ExLlama extension answers on a CPU, by all its paths: bits, or the exception."""
    from kernels.exllama_build import extension
    from tests.suite.bad import invalidate
    from tests.suite.exllama_backend import EXLLAMA
    from tests.suite.operands import Operands
    from tests.suite.strategies import cases, refusals

    use_compiler()
    extension("cpu")  # what cannot be built answers nothing, which is no answer to compare
    limits = replace(EXLLAMA.limits, max_tiles=MOST_TILES)
    for case in draw(refusals(limits) if seed % 8 == 0 else cases(limits), BLOCK, seed):
        operands = Operands(case, "cpu")
        left, weights = invalidate(case, operands.left, operands.weights())
        answer = _answer(lambda c=case, x=left, w=weights: EXLLAMA.call(c, x, w))
        yield f"{case} {answer} {operands.damage()}".encode()


def layers(seed: int) -> Iterator[bytes]:
    """What `pack` stores, or the exception that it raises."""
    import torch
    from torch import nn

    from kernels.quant_linear import QuantLinear

    for at in _seeds(seed):
        maker, chance = torch.Generator().manual_seed(at), random.Random(at)
        bits, group = chance.choice([2, 4, 8]), chance.choice([-1, 4, 16, 24])
        k, n = (32 // bits * chance.randint(1, 4) for _ in "kn")
        layer = QuantLinear.new(bits, group, k, n, chance.random() < 0.5)
        linear = nn.Linear(k, n, bias=chance.random() < 0.5)
        linear.weight.data = torch.randn(n, k, generator=maker)
        groups = len(layer.scales)
        scales = torch.randn(n, groups, generator=maker) / 2 ** chance.randint(0, 24)
        zeros = torch.randint(0, 2**bits, (n, groups), generator=maker)
        zeros[0, 0] += chance.choice([0, 0, 0, -1, 2**bits])
        g_idx = torch.randint(0, groups, (k,), generator=maker).int()
        given = chance.choice([None, g_idx])
        if linear.bias is not None:
            linear.bias.data = torch.randn(n, generator=maker)

        def pack(layer=layer, arguments=(linear, scales, zeros, given)):
            layer.pack(*arguments)
            return b"".join(bits_of(buffer) for buffer in layer.buffers())

        yield f"{at} {_answer(pack)}".encode()


def tunings(seed: int) -> Iterator[bytes]:
    """How tuners launch a stub: configs, options, hooks, what is kept; calls of many kinds."""
    import triton.testing

    from tests.autotune_stub import Stub

    def do_bench(call, **options):
        call()
        return [Stub.latest.behaviour.get(Stub.latest.blocks[-1], 1.0)] * 3

    triton.testing.do_bench = do_bench
    for at in _seeds(seed):
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
        told.append(_answer(lambda a=ask, t=tuners[number], g=given: a(t, g)))
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


def verdicts(seed: int) -> Iterator[bytes]:
    """What the suite makes of a line: operands, bounds and the verdict on two kernels."""
    from tests.suite.control import TORCH
    from tests.suite.execute import Examination, Request
    from tests.suite.operands import Operands
    from tests.suite.strategies import cases

    wrong = replace(TORCH, name="wrong", matmul=lambda **given: TORCH.matmul(**given) * 1.001)
    limits = replace(TORCH.limits, max_tiles=MOST_TILES)
    for case in draw(cases(limits), BLOCK, seed):
        operands = Operands(case, "cpu")
        told = [bits_of(operands.left).hex(), *map(str, operands.weights().values())]
        for backend in (TORCH, wrong):
            verdict = Examination(backend, case, "cpu", Request()).verdict()
            told.append(f"{verdict.to_json() | {'seconds': 0}}")
        yield f"{case} {told}".encode()


def _answer(action: Callable) -> str:
    """What came back, or what was raised: two calls are equal if their texts are."""
    import torch

    try:
        answer = action()
    except Exception as problem:  # noqa: BLE001 - whatever a mutant raises is compared
        return f"{type(problem).__name__}: {problem}"
    if isinstance(answer, torch.Tensor):
        return f"{answer.dtype} {tuple(answer.shape)} {bits_of(answer).hex()}"
    return answer.hex() if isinstance(answer, bytes) else str(answer)


def bits_of(tensor) -> bytes:
    """The bytes of a tensor's elements in order."""
    import torch

    return tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


PROBES = {
    "calls": (calls, SUITE_READS),
    "grouped": (grouped_calls, SUITE_READS),
    "extension": (extension_calls, read_by("exllama")),
    "layers": (layers, ("kernels",)),
    "tunings": (tunings, ("kernels", "tests/autotune_stub.py")),
    "verdicts": (verdicts, META_READS),
}
PROBES_OF = {
    "triton": ("calls",),
    "autotuner": ("tunings",),  # interpreted kernels are not tuned, so calls tell nothing
    "pack": ("layers",),
    "door": ("calls", "layers"),
    **dict.fromkeys(("exllama", "cuda", "host"), ("extension",)),
    "suite": ("verdicts",),
}


def probes_of(area: str, path: str) -> tuple[str, ...]:
    """What can tell a mutant of this area, or a known bug of this file, from the original."""
    if any(name in path for name in ("grouped", "dense_kernels", "row_order")):
        return ("grouped",)
    of_extension = ("extension",) if "exllama" in path else ("calls", "layers", "tunings")
    return PROBES_OF.get(area, of_extension)
