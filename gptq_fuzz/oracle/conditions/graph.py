"""A CUDA graph: captured once, replayed with another x in the same place.

Between replays the result, and what the graph's pool holds beside it, are filled with NaN, and
another layer is called.
"""

from __future__ import annotations

import torch

from gptq_fuzz.case.case import decoy_of
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.oracle.conditions.parts import answer, loaded, with_another_x, wrong
from gptq_fuzz.problem.operands import Operands

WARM_UPS = 2


def replayed(exam) -> Verdict | None:
    """The verdict on three replays: of the x that was captured, another one, the first again."""
    another_x = with_another_x(exam)
    other_layer = Operands(decoy_of(exam.case), exam.device, zones=exam.zones)
    multiply, other = loaded(exam, exam.operands), loaded(exam, other_layer)
    captured = _Captured(exam, multiply)
    if captured.out is None or not captured.out.numel():
        return None
    own = exam.expected
    buffer = exam.operands.guarded["left"].storage
    xs = [(operands.guarded["left"].storage.clone(), expected) for operands, expected in (
        (exam.operands, own), (another_x, exam.expectation(another_x)), (exam.operands, own)
    )]  # fmt: skip
    for number, (bytes_of_x, expected) in enumerate(xs, 1):
        buffer.copy_(bytes_of_x)
        captured.poison()
        captured.graph.replay()
        torch.cuda.synchronize(exam.device)
        mismatch = expected.check(exam.rows_of(captured.out, exam.operands))
        if found := wrong(exam, mismatch, f" at replay {number}"):
            return found
        mismatch = exam.expectation(other_layer).check(answer(exam, other, other_layer))
        if found := wrong(exam, mismatch, f" of another layer after replay {number}"):
            return found
    return None


class _Captured:
    """A call as a graph, and a second graph that poisons what the first one's pool has free."""

    def __init__(self, exam, multiply):
        x = exam.operands.left
        with exam.surrounded(poisoned=False):
            with torch.cuda.stream(torch.cuda.Stream()):  # as capturing asks for
                for _ in range(WARM_UPS):
                    multiply(x)
            torch.cuda.synchronize(exam.device)
            self.out, self.graph, self._poison = None, torch.cuda.CUDAGraph(), None
            if exam.case.m:  # a graph without work cannot be replayed
                with torch.cuda.graph(self.graph):
                    self.out = multiply(x)
                self._poison = _poison_of(self.graph.pool(), exam.device)

    def poison(self) -> None:
        """Fill the result, and the scratch memory of the captured call, with NaN."""
        self.out.detach().fill_(torch.nan)
        if self._poison:
            self._poison.replay()


def _poison_of(pool, device: str) -> torch.cuda.CUDAGraph | None:
    """A graph that fills each free block of a pool with NaN; None where there is none."""
    segments = [s for s in torch.cuda.memory_snapshot() if tuple(s["segment_pool_id"]) == pool]
    blocks = [block for segment in segments for block in segment["blocks"]]
    sizes = [block["size"] for block in blocks if block["state"] == "inactive"]
    if not sizes:
        return None
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        # All are held until the last is filled, so that each gets a block of its own.
        kept = [torch.full((size,), 0xFF, dtype=torch.uint8, device=device) for size in sizes]
    del kept
    return graph
