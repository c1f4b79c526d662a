"""What can be observed of our code in 10^4 cases, as hashes: how two versions of it are compared.

A probe of a seed yields the bytes of BLOCK cases; it runs in a scratch copy of the tree.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .hostbuild import refused, use_compiler
from .observed import BLOCK, answer_of, bits_of, seeds_of
from .outcome import Outcome
from .stages import META_READS, SUITE_READS, Stage, draw, read_by
from .tuner_probe import tunings

# Other cases give other results.
HERE = Path(__file__)
TEXTS = [
    HERE.with_name(f"{name}.py").read_bytes() for name in ("observed", "probes", "tuner_probe")
]
OWN_TEXT = hashlib.sha256(b"".join(TEXTS)).hexdigest()[:8]
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
        answer = answer_of(lambda c=case, x=left, w=weights: TRITON.call(c, x, w))
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
        answer = answer_of(lambda c=case, x=left, w=weights: EXLLAMA.call(c, x, w))
        yield f"{case} {answer} {operands.damage()}".encode()


def layers(seed: int) -> Iterator[bytes]:
    """What `pack` stores, or the exception that it raises."""
    import torch
    from torch import nn

    from kernels.quant_linear import QuantLinear

    for at in seeds_of(seed):
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

        yield f"{at} {answer_of(pack)}".encode()


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
