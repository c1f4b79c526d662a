"""Times kernels, cuBLAS and peers on one problem after the other."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable
from typing import NamedTuple

import torch

from gptq_fuzz.bench.bound import Ceilings, bound_us
from gptq_fuzz.bench.device import Lap, interleaved, lap
from gptq_fuzz.bench.launched import launch_config
from gptq_fuzz.bench.peers import CUBLAS, PEERS, dense_layer
from gptq_fuzz.bench.problem import Problem
from gptq_fuzz.case.case import Case
from gptq_fuzz.worker.loader import load

FUNCTION = 0.05  # relative error of a peer that computes something else: 1e-2 is bfloat16
PEER_SAMPLES = 9
READ_BYTES = 2**32  # of the read that shows the ceiling of the memory
SIDE = 8192  # of the product that shows the ceiling of the tensor cores
ROUND = Ceilings(10.0, 0.1, 10.0)  # without a GPU: nothing is concluded from them


class Prepared(NamedTuple):
    """A kernel ready to be timed: its lap, its launch config, its error on the first weights."""

    lap: Lap
    config: str
    relative_error: float


class Stopwatch:
    """`ceilings` None: they are measured when first needed."""

    def __init__(self, device, ceilings: Ceilings | None = None):
        self.device, self._ceilings = device, ceilings
        self._problem: Problem | None = None
        self._kept: dict[str, object] = {}  # of that problem

    @functools.cached_property
    def ceilings(self) -> Ceilings:
        if self._ceilings:
            return self._ceilings
        return measured_ceilings(self.device) if self.device.full_size else ROUND

    def problem(self, case: Case) -> Problem:
        """The tensors of a case; those of the last one are given up."""
        plain = case.replace(extra=())
        if self._problem is None or self._problem.case != plain:
            self._problem, self._kept = None, {}
            self._problem = Problem(plain, self.device)
        return self._problem

    def case(self, spec: str, started_in: str, line: str) -> Case:
        """The Case behind a line that may have tokens of the kernel."""
        return Case.parse(line, self._backend(spec, started_in).limits.tokens)

    @torch.no_grad()
    def prepare(self, spec: str, started_in: str, case: Case) -> Prepared:
        """The kernel `spec` on a case, recorded; it has run, so that its config is known."""
        problem, backend = self.problem(case), self._backend(spec, started_in)
        layers = [serving(spec, backend, case, weights) for weights in problem.weights]
        error = problem.relative_error(layers[0](problem.x))
        timed = lap(self.device, spec, layers, problem.x, bound_us(case, self.ceilings))
        return Prepared(timed, launch_config(spec, case), error)

    @torch.no_grad()
    def host_call(self, spec: str, started_in: str, case: Case) -> Callable:
        """One call of a layer on the host, after the first."""
        problem, backend = self.problem(case), self._backend(spec, started_in)
        layer = serving(spec, backend, case, problem.weights[0])
        layer(problem.x)
        return functools.partial(layer, problem.x)

    @torch.no_grad()
    def cublas(self, case: Case) -> Lap:
        """The product with the dense weight."""
        problem = self.problem(case)
        if CUBLAS not in self._kept:
            layers = [dense_layer(weight) for weight in problem.dense]
            least = bound_us(case, self.ceilings)
            self._kept[CUBLAS] = lap(self.device, CUBLAS, layers, problem.x, least)
        return self._kept[CUBLAS]

    @torch.no_grad()
    def peers(self, case: Case) -> tuple[dict[str, float], dict[str, str]]:
        """({name: median microseconds}, {name: why it was not measured}) of those that serve it."""
        problem = self.problem(case)
        if "peers" not in self._kept:
            wanted = [peer for peer in PEERS if peer.serves(case, self.device.is_gpu)]
            found = {peer.name: self._peer(peer, case, problem) for peer in wanted}
            times = {name: one for name, one in found.items() if isinstance(one, float)}
            reasons = {name: one for name, one in found.items() if isinstance(one, str)}
            self._kept["peers"] = times, reasons
        return self._kept["peers"]

    def _peer(self, peer, case: Case, problem: Problem) -> float | str:
        x = problem.x.to(peer.dtype)
        try:
            layers = [peer.layer(weights) for weights in problem.weights]
            error = problem.relative_error(layers[0](x))
            if not error < FUNCTION:
                return f"its relative error is {error:.2g}"
            timed = lap(self.device, peer.name, layers, x, bound_us(case, self.ceilings))
            samples = interleaved([timed], PEER_SAMPLES if self.device.full_size else 1)
        except Exception as problem_of_peer:  # noqa: BLE001 - somebody else's kernel
            return f"{type(problem_of_peer).__name__}: {problem_of_peer}".splitlines()[0]
        return statistics.median(samples[peer.name]) * 1e6

    @functools.cache  # noqa: B019 - one stopwatch a process
    def _backend(self, spec: str, started_in: str):
        backend = load(spec, started_in)
        if backend.start:
            backend.start(self.device.place)
        return backend


def serving(spec: str, backend, case: Case, weights: dict) -> Callable:
    """x -> out as a server calls it: what is done once per layer has been done."""
    options = dict(case.extra)
    if spec in LAYERS and not options:
        described = {name: weights[name] for name in OPERANDS}
        return LAYERS[spec]()(**described, groupsize=weights["group_size"])
    if backend.run is not None:
        state = backend.prepare(**weights)
        return lambda x: backend.run(state, x=x, **options)
    return lambda x: backend.matmul(x=x, **weights, **options)


OPERANDS = ("qweight", "qzeros", "scales", "g_idx", "bias", "bits")


def _triton_layer():
    from gptq_fuzz.kernels.quant_linear import QuantLinear

    return QuantLinear


def _exllama_layer():
    from gptq_fuzz.kernels.exllama.linear import ExllamaQuantLinear

    return ExllamaQuantLinear


# Their signature is the original's, so that another commit's layers are built in the same way.
LAYERS = {"triton": _triton_layer, "exllama": _exllama_layer}


@torch.no_grad()
def measured_ceilings(device) -> Ceilings:
    """Reading memory, a large float16 product, an empty kernel: medians on random data."""
    words = torch.randint(2**31, (READ_BYTES // 4,), dtype=torch.int32, device=device.place)
    read = _median(device, lambda x: x.amax(), words, 1)
    del words
    shape = (SIDE, SIDE)
    left, right = (torch.randn(shape, device=device.place).half() for _ in range(2))
    product = _median(device, lambda x: x @ right, left, 1)
    one = torch.zeros(1, device=device.place)
    launch = _median(device, lambda x: x.zero_(), one, 256)
    operations = 2 * SIDE**3
    return Ceilings(READ_BYTES / read / 1e9, operations / product / 1e12, launch * 1e6)


def _median(device, call: Callable, x, copies: int) -> float:
    timed = lap(device, "ceiling", [call] * copies, x, 1e3)
    return statistics.median(interleaved([timed], PEER_SAMPLES)["ceiling"])
