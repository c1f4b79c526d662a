"""Whether each call leaves tensors in cycles of references, until Python's collector comes.

An engine that has frozen its objects, or switched the collector off, as servers do for their
latency, never frees them, and one of a GPU has no memory left long before enough objects were made
for the collector to come. Only what is as large as x, the layer or the result counts: small cycles
of an exception or a closure are usual.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from gptq_fuzz.oracle.conditions.parts import activation
from gptq_fuzz.oracle.each_operator import RaisesAt, operators_of
from gptq_fuzz.oracle.enlarged import Calls, Enlarged, enlarged, seconds_of
from gptq_fuzz.oracle.kept import PAUSE, NoTimeLeft, allocated

ROWS, COLUMNS, REDUCTION = 64, 256, 256
FURTHER = 8  # columns of what a strided x is a part of
LEAST = 2**14  # bytes of a call: what the layer's codes of 2 bits take, and half of x or the result
WARM_UPS, CALLS, ROUNDS = 4, 8, 3
MOST_BROKEN = 8  # operators of a call that raise, each in a call of its own: the last ones
SECONDS = 2.0  # of calls of one kind at most: of a kernel that takes longer nothing is said
PAUSES = 3  # in which a thread may free what calls left to it


def kept_in_cycles(exam, seconds: float) -> str | None:
    """What more is kept with each call; None if nothing is, or where there is no time to ask."""
    layer = enlarged(exam, ROWS if exam.case.m > 1 else 1, COLUMNS, REDUCTION)
    calls, seconds = WARM_UPS + ROUNDS * CALLS, min(seconds, SECONDS)
    if layer is None or seconds_of(exam, layer) * calls > seconds:
        return None
    with contextlib.suppress(NoTimeLeft):
        for whose, call in _asked(exam, layer, seconds):
            if found := _in_cycles(call, exam.device):
                return (
                    f"{found} bytes more are kept with {whose}, {calls} of them, in cycles of "
                    "references: they go when Python's collector comes, and stay where it is off"
                )
    return None


def _asked(exam, layer: Enlarged, seconds: float) -> Iterator[tuple[str, Callable]]:
    """What is called with ever new x, and as what."""
    answer, case = Calls(exam, layer, seconds), layer.case
    yield "every call", lambda number: answer(layer.rows(number))
    if "pad" in exam.limits.layouts:
        yield "every call with a strided x", lambda number: answer(_apart(layer.rows(number)))
    if "grad" in exam.limits.conditions:
        yield "every call under grad", lambda number: answer(activation(layer.rows(number)))
    if exam.backend.gradient and not exam.limits.violations(case.replace(backward=True)):
        gradient = Calls(exam, replace(layer, case=case.replace(backward=True)), seconds)
        yield "every gradient", lambda number: gradient(layer.rows(number, case.n))
    # The last, since it takes the most of the time that there is
    yield "every round of calls in which an operator of torch raises", _broken(answer, layer)


def _broken(answer: Calls, layer: Enlarged) -> Callable[[int], None]:
    """A round of calls in which an operator raises: they may raise, or do without it."""
    operators = operators_of(lambda: answer(layer.rows(0)))

    def call(number: int) -> None:
        for at in range(operators, 0, -1)[:MOST_BROKEN]:
            x = layer.rows(number)
            try:
                with RaisesAt(at):
                    answer(x)
            except NoTimeLeft:
                raise
            except Exception:  # noqa: BLE001 - a kernel may raise anything
                continue

    return call


def _apart(x: torch.Tensor) -> torch.Tensor:
    """x, as the first columns of a wider tensor."""
    wide = x.new_zeros(*x.shape[:-1], x.shape[-1] + FURTHER)
    wide[..., : x.shape[-1]] = x
    return wide[..., : x.shape[-1]]


def _in_cycles(call: Callable[[int], object], device: str) -> int | None:
    """Bytes that each call left and the collector freed, LEAST or more."""
    for number in range(WARM_UPS):
        call(number)
    with _not_collected():
        states = [allocated(device)]
        for turn in range(ROUNDS):
            for number in range(CALLS):
                call(WARM_UPS + turn * CALLS + number)
            states.append(allocated(device))
        grown = [after - before for before, after in itertools.pairwise(states)]
        if min(grown) < CALLS * LEAST:
            return None
        for _ in range(PAUSES):
            time.sleep(PAUSE)
        last = allocated(device)
        gc.collect()
        left = min(last - states[0], last - allocated(device)) // (ROUNDS * CALLS)
    return left if left >= LEAST else None


@contextlib.contextmanager
def _not_collected() -> Iterator[None]:
    """Python's collector is off; what `gc.collect()` looks at is made from now on."""
    was_on = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_on:
            gc.enable()
