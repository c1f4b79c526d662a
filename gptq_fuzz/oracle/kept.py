"""Whether a kernel keeps more memory with every call: of one layer, of ever new ones, of one that
is written in between, and of what is refused.

What is bounded is no leak, however it grows at first: growth must go on through all of ROUNDS.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import sys
import time
import warnings
from collections.abc import Callable

import torch

from gptq_fuzz.oracle.surroundings import synchronize
from gptq_fuzz.problem.bad import invalidate

# Calls of a part. A round has three: what a cache of that many still takes in, and two to compare.
ROUNDS = (32, 256, 2048)
ENOUGH = 2  # rounds for a verdict, where there is no time for all
LEAST = {"cpu": 32, "cuda": 512}  # bytes: the smallest block that malloc, torch's allocator give
OBJECTS, BYTES = "objects of Python", "bytes"


class _Mallinfo2(ctypes.Structure):
    names = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks")
    _fields_ = [(name, ctypes.c_size_t) for name in (*names, "fordblks", "keepcost")]


@functools.cache
def _mallinfo2():
    """glibc's counters; None with another library, or before 2.33."""
    function = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if function is not None:
        function.restype = _Mallinfo2
    return function


def can_be_counted(device: str) -> bool:
    """Whether somebody knows how many bytes are in use."""
    return device.startswith("cuda") or _mallinfo2() is not None


def in_use(device: str) -> dict[str, int]:
    """What is allocated now: bytes of the device, and objects of Python."""
    gc.collect()
    synchronize(device)
    if device.startswith("cuda"):
        found = torch.cuda.memory_allocated(device)
    else:
        info = _mallinfo2()()
        found = info.uordblks + info.hblkhd
    return {BYTES: found, OBJECTS: sys.getallocatedblocks()}


def kept(call: Callable[[int], object], device: str, seconds: float) -> tuple[str, int] | None:
    """What more is kept with each `call(number)`, and of how many calls; None if nothing is.

    Where time ends before ENOUGH rounds, nothing is said.
    """
    ends, number, found = time.monotonic() + seconds, 0, None
    gc.freeze()  # only what is made from now on need be looked at
    try:
        for turn, calls in enumerate(ROUNDS):
            states = []
            for _ in range(3):
                for _ in range(calls):
                    if time.monotonic() > ends:
                        return found if turn >= ENOUGH else None
                    call(number)
                    number += 1
                states.append(in_use(device))
            grown = _grown(states, calls, device)
            if grown is None:
                return None
            found = grown, number
    finally:
        gc.unfreeze()
    return found


def _grown(states: list[dict[str, int]], calls: int, device: str) -> str | None:
    """What grew by one block or more with each call of the second part and of the third."""
    least = {BYTES: LEAST[torch.device(device).type], OBJECTS: 1}
    for what, smallest in least.items():
        first, second, third = (state[what] for state in states)
        if min(second - first, third - second) >= smallest * calls:
            return f"{(third - first) / (2 * calls):.0f} {what}"
    return None


def calls_of(exam) -> dict[str, Callable[[int], object]]:
    """What is called again and again: one layer with ever new x, ever new layers, one layer that
    is written before each call, and a call with each operand that the kernel promises to refuse.
    """
    operands = exam.operands

    def answer(left, weights) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exam.backend.call(exam.case, left, weights)

    def own_layer() -> dict:
        return {
            name: value.contiguous().clone() if isinstance(value, torch.Tensor) else value
            for name, value in operands.weights().items()
        }

    def same_layer(number: int) -> None:
        left = operands.left.clone(memory_format=torch.contiguous_format)
        left.view(-1)[:1] = number % 512
        answer(left, operands.weights())

    def new_layer(number: int) -> None:
        weights = own_layer()
        weights["qweight"].view(-1)[:1] = number
        answer(operands.left, weights)

    written = own_layer()

    def written_layer(number: int) -> None:
        written["qweight"].view(-1)[:1] = number
        written["scales"].view(-1)[:1].neg_()
        answer(operands.left, written)

    def refused_calls(number: int) -> None:
        for name in exam.backend.limits.bad:
            case = exam.case.replace(bad=name, condition="")
            with contextlib.suppress(Exception):  # a kernel may raise anything
                answer(*invalidate(case, operands.left, own_layer()))

    asked = {
        "every call of one layer": same_layer,
        "every new layer": new_layer,
        "every write into a layer": written_layer,
    }
    if exam.backend.limits.bad and not exam.case.backward:
        asked["every round of refused calls"] = refused_calls
    return asked
