"""Two threads call at once, with an x each: one layer, then a layer each. Each as if alone.

First in turn: at each of torch's operators a thread lets the other one go on to its next, so that
the same steps interleave in the same way every time. Then freely, for what is no operator.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import torch

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.case import decoy_of
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.oracle.conditions.parts import loaded, same_bits, with_another_x, wrong
from gptq_fuzz.oracle.each_operator import EachOperator
from gptq_fuzz.oracle.surroundings import synchronize
from gptq_fuzz.problem.operands import Operands

CALLS = 4  # of each thread, freely
PATIENCE = 0.05  # seconds that a thread is waited for: the other may hold what it needs
SWITCHES = 1e-5  # seconds after which Python lets another thread go on


def in_two_threads(exam) -> Verdict | None:
    """The verdict on a case whose layer, and another one, are called by two threads."""
    exam.call(exam.operands)
    if _is_interpreted(exam):
        return exam._result(kinds.SKIPPED, "interpreter_has_one_thread")
    other_x = with_another_x(exam)
    other_layer = Operands(decoy_of(exam.case), exam.device, zones=exam.zones)
    first, second = loaded(exam, exam.operands), loaded(exam, other_layer)
    for what, other, theirs in (("this", other_x, first), ("another", other_layer, second)):
        asked = ((first, exam.operands, exam.expected), (theirs, other, exam.expectation(other)))
        found = _both(exam, asked, _in_turn) or _both(exam, asked, _freely)
        if found:
            found.message += f"; the other thread called {what} layer"
            return found
    return None


def _is_interpreted(exam) -> bool:
    """Whether a call goes through Triton's interpreter, whose state is one for all threads."""
    interpreter = sys.modules.get("triton.runtime.interpreter")
    if interpreter is None:
        return False
    launch = mock.patch.object(
        interpreter.GridExecutor, "__call__", autospec=True,
        side_effect=interpreter.GridExecutor.__call__,
    )  # fmt: skip
    with launch as launched:
        exam.call(exam.operands)
    return launched.called


def _both(exam, asked, run: Callable) -> Verdict | None:
    """Call as `run` says in two threads; judge every result."""
    with exam.surrounded():
        results = run(exam.device, [(multiply, operands.left) for multiply, operands, _ in asked])
        synchronize(exam.device)
    for outs, (_, operands, expected) in zip(results, asked, strict=True):
        right = None
        for rows in (exam.rows_of(out, operands) for out in outs):
            if right is None or not same_bits(right, rows):
                if found := wrong(exam, expected.check(rows), kind=kinds.STATE_LEAKED):
                    return found
                right = rows
    return None


def _in_turn(device: str, calls) -> list[list]:
    turns = Turns()

    def call(number: int) -> list:
        multiply, x = calls[number]
        try:
            with InTurn(turns, number):
                return [multiply(x)]
        finally:
            turns.end()

    return _threads(device, call)


def _freely(device: str, calls) -> list[list]:
    together = threading.Barrier(len(calls))

    def call(number: int) -> list:
        multiply, x = calls[number]
        together.wait()
        return [multiply(x) for _ in range(CALLS)]

    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCHES)
    try:
        return _threads(device, call)
    finally:
        sys.setswitchinterval(before)


def _threads(device: str, call: Callable) -> list[list]:
    """`call(0)` and `call(1)`, each in a thread of its own; raises what one of them raises."""

    threads = torch.get_num_threads()

    def on_the_device(number: int) -> list:
        torch.set_num_threads(threads)  # of operators: not all libraries pass it on
        if device != "cpu":
            torch.cuda.set_device(device)
        return call(number)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(on_the_device, range(2)))


class Turns:
    """Whose turn it is, of two threads; nobody's once one ends or is waited for in vain."""

    def __init__(self):
        self._changed = threading.Condition()
        self._turn = 0
        self._ended = False

    def next(self, number: int) -> None:
        """Give the turn to the other thread, and wait for it."""
        with self._changed:
            self._turn = 1 - number
            self._changed.notify()
            if not self._changed.wait_for(lambda: self._ended or self._turn == number, PATIENCE):
                self.end()

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()


class InTurn(EachOperator):
    """Before each of torch's operators the other thread comes to its next."""

    def __init__(self, turns: Turns, number: int):
        super().__init__()
        self.turns, self.number = turns, number

    def before(self, operator) -> None:
        self.turns.next(self.number)
