"""Where products are timed: a GPU by events around replayed graphs, a CPU by its clock."""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

CACHES = 4  # times the L2 that the copies of the weights fill together
LEAST_BYTES = 220_000_000  # that they fill in any case; what the peers' figures were measured with
MOST_CALLS = 256  # nodes of a graph, more or less
GRAPH, EVENTS, CLOCK = "graph", "events", "clock"  # how a time came about


class Gpu:
    """A CUDA device. Times hold no work of the host: that is done while the device is busy."""

    is_gpu = True
    full_size = True  # large problems, measured ceilings
    least_seconds = 1e-3  # of one sample: events tick in half microseconds

    def __init__(self, place: str):
        self.place = place
        properties = torch.cuda.get_device_properties(place)
        self.name = properties.name
        self.working_set = max(CACHES * properties.L2_cache_size, LEAST_BYTES)
        torch.cuda.set_device(place)

    def recorded(self, calls: Sequence[Callable[[], object]]) -> tuple[Callable[[], object], str]:
        """(run, way): run() does all calls. They are captured in a graph where that is possible.

        Every call has to have run before, so that nothing is tuned or compiled now.
        """
        torch.cuda.synchronize()
        if not self._runs_without_waiting(calls[0]):
            return lambda: _all(calls), EVENTS
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            _all(calls)
        return functools.partial(_replay, graph, calls), GRAPH

    def _runs_without_waiting(self, call: Callable[[], object]) -> bool:
        """Whether torch sees no wait for the device: a capture that fails leaves torch in ruins."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "a prototype feature"
            torch.cuda.set_sync_debug_mode("error")
            try:
                call()
            except RuntimeError:  # the call has succeeded before, so this is the wait
                return False
            finally:
                torch.cuda.set_sync_debug_mode("default")
        torch.cuda.synchronize()
        return True

    def seconds(self, name: str, run: Callable[[], object]) -> float:
        """Of one run() on the device. Another one before it keeps the device busy meanwhile."""
        del name
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        run()
        start.record()
        run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3

    def synchronize(self) -> None:
        """Wait for all work."""
        torch.cuda.synchronize()


class Cpu:
    """Without a GPU: calls run as they are, and times say that the benchmark works, no more."""

    is_gpu = full_size = False
    least_seconds = 0.0
    working_set = 0
    place = name = "cpu"

    def __init__(self):
        torch.set_num_threads(1)  # as in a worker: threads would wait for busy cores

    def recorded(self, calls):
        """As for a GPU."""
        return lambda: _all(calls), CLOCK

    def seconds(self, name: str, run: Callable[[], object]) -> float:
        """Of one run() by the clock."""
        del name
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    def synchronize(self) -> None:
        """Nothing to wait for."""


def open_device(wanted: str | None) -> Gpu | Cpu:
    """`cuda:1`, `cpu`, or None for the first GPU, else the CPU."""
    device = torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))
    return Cpu() if device.type == "cpu" else Gpu(f"cuda:{device.index or 0}")


def _replay(graph, layers) -> None:
    """A graph holds addresses, no tensors: the layers are kept alive for as long as it is."""
    del layers
    graph.replay()


def _all(calls) -> None:
    for call in calls:
        call()


@dataclass(frozen=True)
class Lap:
    """Something that can be timed again and again; `calls` of it make one run."""

    name: str
    run: Callable[[], object]
    calls: int
    way: str
    device: Gpu | Cpu

    def sample(self) -> float:
        """Seconds of one call."""
        return self.device.seconds(self.name, self.run) / self.calls


def lap(device, name: str, layers: Sequence[Callable], x, least_us: float) -> Lap:
    """A Lap over `layers` (x -> out, in turn), each called as often as the others.

    `least_us`: no call can be faster. From it follows how many make up a sample long enough.
    """
    once = [lambda layer=layer: layer(x) for layer in layers]
    for call in once:  # tunes, compiles, allocates
        call()
    wanted = 1 + int(device.least_seconds * 1e6 / (least_us * len(once)))
    calls = once * min(wanted, -(-MOST_CALLS // len(once)))
    run, way = device.recorded(calls)
    return Lap(name, run, len(calls), way, device)


def interleaved(laps: Sequence, pairs: int) -> dict[str, list[float]]:
    """`pairs` samples of each, taken in turn: what drifts, drifts for all. Seconds by name."""
    for one in laps:
        one.sample()  # the first replay uploads the graph
    samples: dict[str, list[float]] = {one.name: [] for one in laps}
    for _ in range(pairs):
        for one in laps:
            samples[one.name].append(one.sample())
    return samples
