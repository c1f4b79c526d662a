"""Steps over the five functions of the ExLlama extension, each checked against a model of it.

A run of steps is one line, `tune-8-0-0/make-n8-k64-b4-g32-act-s3/prep-512-512/mul-0-3/clean`:

    tune-THD-FUSED-NOHALF2   set_tuning_params; THD f8 forces reconstruction from 8 rows on
    prep-STATE-DQ            prepare_buffers with so many elements; the caller drops its tensors
    make-TOKENS              make_q4 of that Case; its handle gets the next number
    mul-H-M[-pad|-side]      q4_matmul of M rows by handle H; x padded; on a stream of its own
    spoil-H                  the caller overwrites and frees the tensors behind handle H
    bad-NAME-H               a call that must be refused (refusals.py)
    grab-H-M, replay-G       capture a CUDA graph; replay it with another x
    on-D                     the GPU that is used from here on
    clean                    cleanup
    loop-H-ROUNDS            make, prepare, multiply and clean up, again and again: nothing leaks

As a program, reads steps as lines of JSON and answers each with what was wrong, or null.
"""

import json
import resource
import sys
from pathlib import Path

import torch

from gptq_fuzz.case.case import Case
from gptq_fuzz.problem.operands import Operands
from kernels import exllama
from reference.matmul import dequantize
from tests.exllama.refusals import REFUSALS

ROWS = 72  # that x has, of which a call takes the first
DEFAULTS = (8, False, False)
TUNED = {"0": False, "1": True}
WARM_UP = 500  # rounds, until pools and caches have what they keep
LEAK = 2**22  # bytes of growth that are more than noise
PARTS = 4  # of a loop of rounds, between which memory is looked at


class Violation(Exception):
    """The extension did not do what the model wants."""


class Layer:
    """A handle, the tensors behind it, and the answer for all rows of x."""

    def __init__(self, line, device):
        self.case = Case.parse(f"m{ROWS}-{line}")
        self.device = device
        self.operands = Operands(self.case, device)
        weights = self.operands.weights()
        self.tensors = {name: weights[name] for name in ("qweight", "qzeros", "scales")}
        self.tensors["g_idx"] = None if weights["g_idx"] is None else weights["g_idx"].cpu()
        self.x = self.operands.left
        originals = self.operands.originals()
        originals.pop("bias")
        self.ref = (self.operands.values.left @ dequantize(**originals)).half().to(device)
        g_idx = self.operands.values.g_idx
        self.moves_rows = bool((g_idx[1:] < g_idx[:-1]).any())
        self.is_alive = True
        number = exllama.CPU if device == "cpu" else torch.device(device).index
        self.handle = exllama.make_q4(**self.tensors, device=number)


class Graph:
    """A captured call, its x and its out; called once before, as torch asks for."""

    def __init__(self, layer, rows):
        self.layer, self.rows = layer, rows
        self.x = layer.x[:rows].clone()
        self.out = torch.full((rows, layer.case.n), torch.nan, device=layer.device).half()
        self.graph = torch.cuda.CUDAGraph()
        exllama.q4_matmul(self.x, layer.handle, self.out)
        with torch.cuda.device(layer.device), torch.cuda.graph(self.graph):
            exllama.q4_matmul(self.x, layer.handle, self.out)


class World:
    """The model: what was set, what there is room for, which handles live."""

    def __init__(self, device):
        self.device = device
        self.tuning, self.room = DEFAULTS, {}
        self.layers, self.graphs = [], []
        exllama.cleanup()

    def do(self, step):
        """Run one step. Raises Violation."""
        name, _, rest = step.partition("-")
        getattr(self, f"_{name}")(*([rest] if name == "make" else filter(None, rest.split("-"))))
        for layer in self.layers:
            if layer.operands is not None and layer.operands.damage():
                raise Violation(f"{step} changed {layer.operands.damage()[1]}")
        if self.device != "cpu":
            for number in range(torch.cuda.device_count()):
                torch.cuda.synchronize(number)
            if torch.cuda.current_device() != 0:
                raise Violation(f"{step} changed the current device")

    def _tune(self, threshold, fused, no_half2):
        forced = threshold.startswith("f")
        number = int(threshold.lstrip("f"))
        self.tuning = (-number if forced else number, TUNED[fused], TUNED[no_half2])
        exllama.set_tuning_params(*self.tuning)

    def _prep(self, state, dq):
        sizes = int(state), int(dq)
        buffers = [torch.full((n,), torch.nan, device=self.device).half() for n in sizes]
        exllama.prepare_buffers(torch.device(self.device), *buffers)
        self.room[self.device] = sizes

    def _make(self, line):
        self.layers.append(Layer(line, self.device))

    def _mul(self, handle, rows, how=""):
        layer = self.layers[int(handle)]
        x = layer.x[: int(rows)]
        if how == "pad":
            wide = torch.full((len(x), x.shape[1] + 3), torch.nan, device=x.device).half()
            x = wide[:, :-3].copy_(x)
        out = torch.full((len(x) + 2, layer.case.n), torch.nan, device=x.device).half()
        out[[0, -1]] = 77
        self._call(layer, x, out[1:-1], aside=how == "side")
        if not bool((out[[0, -1]] == 77).all()):
            raise Violation("rows outside out were written")

    def _call(self, layer, x, out, aside):
        may, must = self._refused(layer, len(x))
        before = x.clone()
        try:
            _on_a_stream(lambda x: exllama.q4_matmul(x, layer.handle, out), x, aside)
        except (ValueError, RuntimeError) as problem:
            if not may or not bool(out.isnan().all()):
                raise Violation(f"raised, or wrote before it raised: {problem}") from problem
            return
        if must:
            raise Violation(f"an exception was due: {must}")
        if not torch.equal(before, x):
            raise Violation("x was changed")
        _compare(out, layer.ref[: len(x)])

    def _refused(self, layer, rows):
        """(whether the call may raise, why it must); a threshold without force leaves a choice."""
        if not layer.is_alive:
            return True, "the handle is dead"
        threshold, fused, _ = self.tuning
        ways = {rows >= abs(threshold) > 0} | ({False} if threshold > 0 else set())
        state, dq = self.room.get(layer.device, (0, 0))
        sorts = layer.moves_rows and not fused
        short = {
            layer.case.k * layer.case.n > dq if way else sorts and rows * layer.case.k > state
            for way in ways
        }
        return rows > 0 and True in short, "no room" if rows > 0 and short == {True} else ""

    def _spoil(self, handle):
        layer = self.layers[int(handle)]
        given, layer.operands, layer.x = layer.tensors, None, layer.x.clone()
        layer.tensors = {name: None if t is None else t.clone() for name, t in given.items()}
        for tensor in given.values():
            if tensor is not None:
                tensor.fill_(1)

    def _bad(self, name, handle):
        call, layer = REFUSALS[name], self.layers[int(handle)]
        out = torch.full((3, layer.case.n), torch.nan, device=layer.device).half()
        x = layer.x[:3].clone()
        try:
            call(exllama, layer, x, out)
        except (ValueError, TypeError, RuntimeError) as problem:
            if not str(problem) or not bool(out.isnan().all()):
                raise Violation(f"unclear, or wrote before it raised: {problem!r}") from problem
            return
        raise Violation(f"{name} was not refused")

    def _grab(self, handle, rows):
        layer = self.layers[int(handle)]
        if not self._refused(layer, int(rows))[0]:
            self.graphs.append(Graph(layer, int(rows)))

    def _replay(self, number):
        if int(number) >= len(self.graphs) or not self.graphs[int(number)].layer.is_alive:
            return
        graph = self.graphs[int(number)]
        turned = torch.arange(graph.rows) * 5 % ROWS
        graph.x.copy_(graph.layer.x[turned])
        graph.graph.replay()
        _compare(graph.out, graph.layer.ref[turned])

    def _on(self, device):
        self.device = f"cuda:{device}"

    def _clean(self):
        exllama.cleanup()
        self.tuning, self.room = DEFAULTS, {}
        for layer in self.layers:
            layer.is_alive = False

    def _loop(self, handle, rounds):
        layer, room = self.layers[int(handle)], torch.zeros(2**14, dtype=torch.half)
        room, out = room.to(layer.device), torch.empty_like(layer.ref)
        number = exllama.CPU if layer.device == "cpu" else torch.device(layer.device).index

        def once():
            handle = exllama.make_q4(**layer.tensors, device=number)
            exllama.prepare_buffers(torch.device(layer.device), room, room.clone())
            exllama.q4_matmul(layer.x, handle, out)
            exllama.cleanup()

        for _ in range(WARM_UP):
            once()
        share = max(1, int(rounds) // PARTS)
        grown = [_grown(once, share, layer.device) for _ in range(PARTS)]
        process, of_torch, of_all = zip(*grown, strict=True)
        # The GPU's own count is of other processes too: what each round loses, every part shows.
        lost = max(sum(process), sum(of_torch), PARTS * min(of_all))
        if lost > LEAK:
            raise Violation(f"{rounds} rounds took {lost} bytes")
        self._clean()


def _grown(once, rounds, device):
    """Bytes more in use after so many rounds, counted as `_memory` does."""
    before = _memory(device)
    for _ in range(rounds):
        once()
    return [now - then for now, then in zip(_memory(device), before, strict=True)]


def _memory(device):
    """Bytes in use: by this process, by torch on the GPU, by everybody there."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    used = [pages * resource.getpagesize(), 0, 0]
    if device != "cpu":
        torch.cuda.synchronize()
        free, total = torch.cuda.mem_get_info(device)
        used[1:] = torch.cuda.memory_allocated(device), total - free
    return used


def _compare(out, ref):
    wrong = out != ref
    if bool(wrong.any()):
        row, column = wrong.nonzero()[0].tolist()
        raise Violation(
            f"{int(wrong.sum())} of {wrong.numel()} elements wrong, first [{row}, {column}] = "
            f"{out[row, column].item()}, ref = {ref[row, column].item()}"
        )


def _on_a_stream(call, x, aside):
    """`call(x)`; aside: on a stream of its own where x comes late."""
    if not (aside and x.is_cuda):
        return call(x)
    torch.cuda.synchronize(x.device)
    stream = torch.cuda.Stream(x.device)
    with torch.cuda.stream(stream):
        late = torch.zeros_like(x)
        torch.cuda._sleep(10**6)
        late.copy_(x)
        call(late)
    torch.cuda.synchronize(x.device)


def main():
    world = None
    for text in sys.stdin:
        asked = json.loads(text)
        wrong = None
        try:
            if "device" in asked:
                world = World(asked["device"])
            else:
                world.do(asked["step"])
        except Exception as problem:  # noqa: BLE001 - whatever the extension raises is reported
            wrong = f"{type(problem).__name__}: {problem}"
        sys.stdout.write(json.dumps(wrong) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
