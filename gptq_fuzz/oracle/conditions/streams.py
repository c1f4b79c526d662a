"""Streams of a GPU beside the default one: on one of them x comes late, on the other as well."""

from __future__ import annotations

import torch

from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.oracle.conditions.parts import loaded, with_another_x, wrong

LATE = 10**7  # cycles of the GPU, some milliseconds, that a stream waits before x is there
NOTHING = 0xFF  # bytes of NaN in any format


def on_other_streams(exam) -> Verdict | None:
    """Two calls of one layer, each on a stream of its own. What does not wait for x reads NaN."""
    other = with_another_x(exam)
    asked = ((exam.operands, exam.expected), (other, exam.expectation(other)))
    multiply = loaded(exam, exam.operands)
    with exam.surrounded():
        multiply(exam.operands.left)  # what is compiled or tuned waits for the whole device
        outs = _late_calls(multiply, [operands for operands, _ in asked])
        torch.cuda.synchronize(exam.device)
    for out, (operands, expected) in zip(outs, asked, strict=True):
        if found := wrong(exam, expected.check(exam.rows_of(out, operands))):
            return found
    return None


def _late_calls(multiply, given) -> list:
    """The results of calls that the host has queued before any x is there."""
    buffers = [operands.guarded["left"].storage for operands in given]
    there = [buffer.clone() for buffer in buffers]
    for buffer in buffers:
        buffer.fill_(NOTHING)
    torch.cuda.synchronize()
    outs = []
    for operands, buffer, bytes_of_x in zip(given, buffers, there, strict=True):
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda._sleep(LATE)
            buffer.copy_(bytes_of_x)
            outs.append(multiply(operands.left))
    return outs
