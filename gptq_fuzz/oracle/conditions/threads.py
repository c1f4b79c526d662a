"""Two threads call at once, with an x each: one layer, then a layer each, then one layer with other
numbers of rows, then one from K to N beside one from N to K, where scratch of a width is for x of
one and the result of the other, and layers of other bits and other groups. Each as if alone.

First in turn: at each of torch's operators a thread lets the other one go on to its next, so that
the same steps interleave in the same way every time. Then freely, for what is no operator.
So they meet in other modes of torch too, each thread in its own, and layers that nobody has called
as they are now: new ones, one that was written, and one each that have an operand in common, as a
base and its adapters have.
What a call leaves half done there lies between two of its operators: before one of the first
thread's, another one for each layer, the second thread makes a whole call. Then that operator of
the first thread's raises: who waits for what a call makes must do without, and end.

A kernel with `prepare` has layers of its own loaded by each thread as well, as loaders with several
threads do.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sys
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from unittest import mock

import torch

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.axes import WHOLE_GROUP
from gptq_fuzz.case.case import decoy_of
from gptq_fuzz.case.history import OPERANDS
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.oracle.conditions.parts import (
    answer,
    loaded,
    same_bits,
    with_another_x,
    with_x,
    wrong,
)
from gptq_fuzz.oracle.each_operator import EachOperator, Injected, makes_a_tensor
from gptq_fuzz.oracle.own_threads import OURS, InItsThreads
from gptq_fuzz.oracle.surroundings import differing, state_of_a_thread, synchronize
from gptq_fuzz.problem.fills import FIELDS
from gptq_fuzz.problem.operands import Operands

CALLS = 4  # of each thread, freely
PATIENCE = 0.05  # seconds that a thread is waited for: the other may hold what it needs
SWITCHES = 1e-5  # seconds after which Python lets another thread go on
FEWEST = 4  # operators before which the second thread calls
SECONDS = 0.02  # after which it is FEWEST
SHARE = 1 / 3  # of the seconds of a case that is asked patiently, for each way to meet a layer
LEAVING = 0.05  # seconds that a thread has to leave the process, which takes microseconds
LONGEST = 10.0  # seconds that a call goes on once the one that it met was broken off
# Fills whose numbers may be of two cases
SHARED_FILLS = ("exact", "sparse", "onehot", "lanes", "randn")


class Unended(Exception):
    """A thread that goes on, with nobody who waits for it any longer."""


def in_two_threads(exam) -> Verdict | None:
    """The verdict on a case whose layer, and another one, are called by two threads."""
    exam.call(exam.operands)
    if is_interpreted(lambda: exam.call(exam.operands)):
        return exam._result(kinds.SKIPPED, "interpreter_has_one_thread")
    xs = exam.operands.values.left, with_another_x(exam).values.left
    other = Operands(decoy_of(exam.case), exam.device, zones=exam.zones)
    asked = [_by_each(exam, layer, xs) for layer in (exam.operands, other)]
    exam.expected = asked[0][0][2]
    for what, theirs in zip(("this", "another"), asked, strict=True):
        pair = asked[0][0], theirs[1]
        alone = _alone(exam, pair) if exam.backend.deterministic else None
        if found := _both(exam, pair, _in_turn, alone) or _both(exam, pair, _freely, alone):
            return _noted(found, f"the other thread called {what} layer")
    if found := _in_modes(exam, asked[0]):
        return _noted(found, "one thread was under no_grad, the other one was not")
    if other := _of_other_rows(exam, asked[0][0]):
        pair = asked[0][0], other
        if found := _both(exam, pair, _in_turn) or _both(exam, pair, _freely):
            return _noted(found, "the other thread called this layer with other rows")
    for what, other in _of_other_kinds(exam):
        pair = asked[0][0], other
        if found := _both(exam, pair, _in_turn) or _both(exam, pair, _freely):
            return _noted(found, f"the other thread called a layer of {what}")
    for what, layers in (("a new", _new), ("a written", _written)):
        if found := _meeting(exam, layers(exam, asked), _both):
            return _noted(found, f"both threads called {what} layer for the first time")
    for name in _in_common(exam) if exam.case.fill in SHARED_FILLS else ():
        layers = _sharing(exam, name, asked[0][0], asked[1][1])
        if found := _meeting(exam, layers, _both, _from_the_end):
            return _noted(found, f"the layers of the threads had {name} in common")
    if exam.backend.prepare is None:
        return None
    pairs = _two_new(exam, (asked[0][0], asked[1][1]))
    found = _both_loaded(exam, next(pairs), _in_turn) or _meeting(exam, pairs, _both_loaded)
    return found and _noted(found, "each thread loaded a layer, and called it")


def _in_modes(exam, pair) -> Verdict | None:
    """The verdict on two threads, of which one after the other records no gradients: each has its
    own mode, and keeps it. None of a case that is in such a mode itself.
    """
    if exam.in_a_thread is not contextlib.nullcontext:
        return None
    for modes in ((contextlib.nullcontext, torch.no_grad), (torch.no_grad, contextlib.nullcontext)):
        run = functools.partial(_in_turn, modes=modes)
        if (found := _both(exam, pair, run)) or (found := _mode_left(exam)):
            return found
    return None


def _mode_left(exam) -> Verdict | None:
    """The verdict on the state of a thread that a kernel did not leave as it was."""
    names = sorted({*exam.changed} & {*state_of_a_thread()})
    if not names:
        return None
    exam.changed = []
    return exam._result(kinds.STATE_LEAKED, f"the kernel changed {', '.join(names)}")


def _noted(found: Verdict, note: str) -> Verdict:
    """A verdict that says more; the reason of a skipped one is a code."""
    found.message += f"; {note}" * (found.kind != kinds.SKIPPED)
    return found


def _by_each(exam, layer: Operands, xs) -> list[tuple]:
    """For each thread: the layer as the kernel has loaded it, its operands, what is expected."""
    multiply, given = loaded(exam, layer), [with_x(exam, x, layer) for x in xs]
    return [(multiply, operands, exam.expectation(operands)) for operands in given]


def _of_other_rows(exam, own: tuple) -> tuple | None:
    """As of `_by_each`, the layer of `own` with a row more; None where the kernel takes no such."""
    changes = {"m": exam.case.m + 1, "rank": 2, "layout": ""}
    if exam.limits.violations(exam.case.replace(**changes)):
        return None
    operands = with_another_x(exam, **changes)
    return own[0], operands, exam.expectation(operands)


def _of_other_kinds(exam) -> Iterator[tuple[str, tuple]]:
    """What it is, and as of `_by_each`: a layer from N to K, as a projection down comes after one
    up; one of other bits, and one of other groups, as models of mixed precision have beside it.
    None that the kernel does not take.
    """
    case, limits = exam.case, exam.limits
    bits = next((bits for bits in limits.bits if bits != case.bits), case.bits)
    changes = {
        "this N and K, exchanged": {"n": case.k, "k": case.n},
        "other bits": {"bits": bits},
        "other groups": {"group_size": _other_groups(exam)},
    }
    for what, fields in changes.items():
        try:
            other = case.replace(**fields)
        except ValueError:
            continue
        if other == case or limits.violations(other):
            continue
        operands = Operands(other, exam.device, zones=exam.zones)
        yield what, (loaded(exam, operands), operands, exam.expectation(operands))


def _other_groups(exam) -> int:
    """All rows in one, or those of a few."""
    case, listed = exam.case, exam.limits.group_sizes
    if case.groups > 1 and (listed is None or WHOLE_GROUP in listed):
        return WHOLE_GROUP
    few = case.k // 2 if listed is None else next((s for s in listed if s < case.k), 0)
    return few if few > 0 else case.group_size


def _new(exam, asked) -> Iterator[list[tuple]]:
    """The two layers in turn, in tensors of their own each time."""
    while True:
        for layer in asked:
            yield _again(exam, _copied(exam, layer[0][1]), layer)


def _two_new(exam, pair) -> Iterator[list[tuple]]:
    """A layer for each thread, in tensors of their own each time."""
    while True:
        yield [
            (multiply, with_x(exam, given.values.left, _copied(exam, given)), expected)
            for multiply, given, expected in pair
        ]


def _in_common(exam) -> list[str]:
    """Two operands of the layer, or its only one, which the case chooses."""
    names = [name for name in OPERANDS if name in exam.operands.guarded]
    first = zlib.crc32(str(exam.case).encode()) % len(names)
    return list(dict.fromkeys((names[first], names[first - len(names) // 2])))


def _sharing(exam, name: str, own: tuple, theirs: tuple) -> Iterator[list[tuple]]:
    """A layer for each thread, new each time: the second has this operand of the first."""
    (_, mine, expected), (_, other, _) = own, theirs
    field = FIELDS[name]
    values = replace(other.values, **{field: getattr(mine.values, field)})
    while True:
        layer = _copied(exam, mine)
        shared = {name: layer.guarded[name]}
        second = Operands(exam.case, exam.device, values=values, zones=exam.zones, shared=shared)
        given = with_x(exam, values.left, second)
        yield [
            (loaded(exam, layer), with_x(exam, mine.values.left, layer), expected),
            (loaded(exam, second), given, exam.expectation(given)),
        ]


def _copied(exam, layer: Operands) -> Operands:
    return Operands(exam.case, exam.device, values=layer.values, zones=exam.zones)


def _written(exam, asked) -> Iterator[list[tuple]]:
    """One layer, into which the two are written in turn."""
    layer = next(_new(exam, asked))[0][1]
    exam.call(layer)
    while True:
        for source in reversed(asked):
            for name, guarded in layer.guarded.items():
                if name != "left":
                    guarded.write(source[0][1].guarded[name].original)
            yield _again(exam, layer, source)


def _again(exam, layer: Operands, asked: list[tuple]) -> list[tuple]:
    """What was asked of a layer, asked of one that equals it."""
    multiply = loaded(exam, layer)
    return [
        (multiply, with_x(exam, operands.values.left, layer), expected)
        for _, operands, expected in asked
    ]


def _spread(count: int, line: str) -> list[int]:
    """Each number below `count`, from one that the line picks; the first few lie far apart."""
    golden = range(round(count * (5**0.5 - 1) / 2), 2 * count)
    step = next((step for step in golden if math.gcd(step, count) == 1), 1)
    return [(zlib.crc32(line.encode()) + number * step) % count for number in range(count)]


def _from_the_end(count: int, _line: str) -> range:
    """Each number below `count`, the last ones first: there what was made is used."""
    return range(count - 1, -1, -1)


def _meeting(
    exam, layers: Iterator[list[tuple]], both: Callable, spread: Callable = _spread
) -> Verdict | None:
    """The verdict, as `both` says, on two threads that meet, each time with the next `layers`;
    `spread` orders the operators of a call at which they do.
    """
    share = exam.request.seconds * SHARE if exam.request.calls > 1 else 0.0
    started = time.monotonic()
    after = Inside(None, PATIENCE)
    found = both(exam, next(layers), _freely) or both(exam, next(layers), after.run)
    ends = time.monotonic()
    patience = max(PATIENCE, ends - started)
    ends += max(share, SECONDS)
    places = spread(after.operators, str(exam.case))
    for number, place in enumerate(places):
        if found or (number >= FEWEST and time.monotonic() > ends):
            break
        inside = Inside(place, patience)
        found = both(exam, next(layers), inside.run)
        if inside.in_vain:  # a lock, which the first thread holds
            break
    ends = time.monotonic() + share
    for place in range(after.operators - 1, max(after.operators - 1 - FEWEST, -1), -1):
        if found:
            break
        broken = BrokenInItsThread(place, patience)
        found = _broken_off(exam, next(layers), both, broken)
        if not broken.is_broken:  # it has none
            break
    for number, place in enumerate(places):
        if found or (number and time.monotonic() > ends):
            break
        found = _broken_off(exam, next(layers), both, BrokenOff(place, patience))
    return found


def _broken_off(exam, layers: list[tuple], both: Callable, broken: BrokenOff) -> Verdict | None:
    """The verdict on a call that meets one which an error breaks off, then on a call of each."""
    if found := both(exam, layers, broken.run):
        return _noted(found, "a call that it met was broken off by an error")
    if found := both(exam, layers, broken.run_later):
        return _noted(found, "it came after a call that was broken off while another one met it")
    return None


def is_interpreted(call: Callable) -> bool:
    """Whether a call goes through Triton's interpreter, whose state is one for all threads."""
    interpreter = sys.modules.get("triton.runtime.interpreter")
    if interpreter is None:
        return False
    launch = mock.patch.object(
        interpreter.GridExecutor, "__call__", autospec=True,
        side_effect=interpreter.GridExecutor.__call__,
    )  # fmt: skip
    with launch as launched:
        call()
    return launched.called


def _alone(exam, asked) -> list[torch.Tensor]:
    """The result of each call in a thread while the other one is not there."""
    with exam.surrounded():
        calls = [(_in_a_thread(exam, multiply), given.left) for multiply, given, _ in asked]
        each = [in_threads(exam.device, lambda _, one=one: one[0](one[1]), 1) for one in calls]
        synchronize(exam.device)
    pairs = zip(each, asked, strict=True)
    return [exam.rows_of(out, operands).clone() for (out,), (_, operands, _) in pairs]


def _both(exam, asked, run: Callable, alone: list[torch.Tensor] | None = None) -> Verdict | None:
    """Call as `run` says in two threads; judge every result, by its bits too where those of the
    same call `alone` are known.
    """
    with exam.surrounded():
        calls = [(_in_a_thread(exam, multiply), given.left) for multiply, given, _ in asked]
        try:
            results = run(exam.device, calls)
        except Unended as problem:
            return exam._result(kinds.TIMED_OUT, str(problem))
        except Exception as problem:  # noqa: BLE001 - a kernel may raise anything
            return exam._raised(problem)
        synchronize(exam.device)
    for number, (outs, (_, operands, expected)) in enumerate(zip(results, asked, strict=True)):
        right = None
        for rows in (exam.rows_of(out, operands) for out in outs):
            if right is None or not same_bits(right, rows):
                if found := wrong(exam, expected.check(rows), kind=kinds.STATE_LEAKED):
                    return found
                right = rows
            if alone and not same_bits(alone[number], rows):
                message = "other bits than the same call has alone"
                return exam._result(kinds.NONDETERMINISTIC, message, wrong_runs=1, runs=2)
    return None


def _both_loaded(exam, asked, run: Callable) -> Verdict | None:
    """As `_both`, by threads that load their layers first; then each is called as it was loaded."""
    options = dict(exam.case.extra)
    loading = [Loading(exam.backend, given.weights(), options) for _, given, _ in asked]
    given = [(load, *layer[1:]) for load, layer in zip(loading, asked, strict=True)]
    found = _both(exam, given, run)
    for load, operands, expected in given:
        for multiply in load.loaded:
            if found:
                return found
            rows = answer(exam, multiply, operands)
            found = wrong(exam, expected.check(rows), kind=kinds.STATE_LEAKED)
    return found


class Loading:
    """`f(x)`: x [..., K] times a layer that is loaded then; `loaded` are the last that were, each
    `f(x)`.
    """

    def __init__(self, backend, weights: dict, options: dict):
        self.backend, self.weights, self.options = backend, weights, options
        self.loaded: deque[Callable] = deque(maxlen=CALLS)

    def __call__(self, x: torch.Tensor):
        state = self.backend.prepare(**self.weights)
        multiply = functools.partial(self._multiplied, state)
        self.loaded.append(multiply)
        return multiply(x)

    def _multiplied(self, state, x: torch.Tensor):
        return self.backend.run(state, x=x, **self.options)


def _in_a_thread(exam, multiply: Callable) -> Callable:
    """A call in the state of the case, also where torch keeps that for each thread; what the kernel
    leaves changed of it is noted.
    """

    def call(x):
        with exam.in_a_thread():
            before = state_of_a_thread()
            try:
                return multiply(x)
            finally:
                exam.changed += differing(before, state_of_a_thread())

    return call


def _in_turn(device: str, calls, modes=(contextlib.nullcontext,) * 2) -> list[list]:
    """A call of each thread, in its one of `modes`."""
    turns, together = Turns(), threading.Barrier(len(calls))

    def call(number: int) -> list:
        multiply, x = calls[number]
        together.wait()
        try:
            with modes[number](), InTurn(turns, number):
                return [multiply(x)]
        finally:
            turns.end()

    return in_threads(device, call)


def _freely(device: str, calls) -> list[list]:
    together = threading.Barrier(len(calls))

    def call(number: int) -> list:
        multiply, x = calls[number]
        together.wait()
        return [multiply(x) for _ in range(CALLS)]

    with _switching_often():
        return in_threads(device, call)


@contextlib.contextmanager
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCHES)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def among_many(device: str, calls: list[Callable], x: torch.Tensor, seconds: float) -> Iterator:
    """Rounds of calls of many layers by two threads; of each a list of (layer, result).

    What is kept of a few layers is given up for others here. First while one thread is in the
    middle of a call, before each operator, the last ones first: there it uses what it has looked
    up. Then freely, each thread in an order of its own, calls beginning at the same time.
    """
    numbers = range(len(calls))

    def others_of(number: int) -> Callable:
        order = [*numbers[number + 1 :], *numbers[:number]]
        return lambda x: [(other, calls[other](x)) for other in order]

    def around(number: int, inside: Inside) -> list[tuple]:
        calls[number](x)  # it is among those that were called last
        (mine,), (theirs,) = inside.run(device, [(calls[number], x), (others_of(number), x)])
        synchronize(device)
        return [(number, mine), *theirs]

    ends = time.monotonic() + seconds / 2
    after = Inside(None, PATIENCE)
    yield around(0, after)
    for place in reversed(range(after.operators)):
        inside = Inside(place, max(PATIENCE, seconds))
        yield around(place % len(calls), inside)
        if inside.in_vain or time.monotonic() > ends:
            break
    ends = time.monotonic() + seconds / 2
    orders = [*numbers], [*reversed(numbers)]
    while time.monotonic() < ends:
        together = threading.Barrier(len(orders), timeout=PATIENCE)

        def each_of(order: list[int], meet: Callable = together.wait) -> Iterator[tuple]:
            for number in order:
                with contextlib.suppress(threading.BrokenBarrierError):  # the other one is late
                    meet()
                yield number, calls[number](x)

        with _switching_often():
            rounds = in_threads(device, lambda at, each_of=each_of: [*each_of(orders[at])])
        synchronize(device)
        yield [given for one in rounds for given in one]


def in_threads(device: str, call: Callable, count: int = 2, seconds: float | None = None) -> list:
    """`call(number)`, each in a new thread, all at once; raises what one of them raises, Unended
    where one goes on after so many seconds.
    """
    threads = torch.get_num_threads()
    results, problems = [None] * count, [None] * count

    def on_the_device(number: int) -> None:
        try:
            torch.set_num_threads(threads)  # of operators: not all libraries pass it on
            if device != "cpu":
                torch.cuda.set_device(device)
            results[number] = call(number)
        except BaseException as problem:  # noqa: BLE001 - it is raised where it is waited for
            problems[number] = problem
        # In their order, so that later threads have the same numbers in every run of a line. Each
        # is waited for by one alone: before Python 3.13 two that wait at once may both fail.
        if number:
            started[number - 1].join()
            _wait_for_its_memory(started[number - 1])

    # Nobody waits for a daemon at the end of the process
    started = [
        threading.Thread(target=on_the_device, args=(number,), name=OURS, daemon=True)
        for number in range(count)
    ]
    for thread in started:
        thread.start()
    started[-1].join(seconds)
    if started[-1].is_alive():
        raise Unended(f"no end within {seconds:g} s")
    _wait_for_its_memory(started[-1])
    for problem in problems:
        if problem is not None:
            raise problem
    return results


def one_thread(device: str) -> ThreadPoolExecutor:
    """A thread of a program that uses this device; it ends once nobody has this any more."""
    threads = torch.get_num_threads()

    def begin() -> None:
        torch.set_num_threads(threads)
        if device != "cpu":
            torch.cuda.set_device(device)

    return ThreadPoolExecutor(1, OURS, initializer=begin)


def _wait_for_its_memory(thread: threading.Thread) -> None:
    """Until the system has given it back, with it the number of a thread that has ended."""
    ends = time.monotonic() + LEAVING
    while os.path.exists(f"/proc/self/task/{thread.native_id}") and time.monotonic() < ends:
        time.sleep(0)


class Turns:
    """Whose turn it is, of two threads; nobody's once one ends or is waited for in vain."""

    def __init__(self, patience: float = PATIENCE):
        self._changed = threading.Condition()
        self._turn = 0
        self._ended = False
        self._patience = patience

    def next(self, number: int) -> bool:
        """Give the turn to the other thread, and wait for it; False where that was in vain."""
        with self._changed:
            self._turn = 1 - number
            self._changed.notify()
            came = self.wait(number, self._patience)
            if not came:
                self.end()
            return came

    def wait(self, number: int, seconds: float | None = None) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._ended or self._turn == number, seconds)

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


class Inside(EachOperator):
    """Before the operator at this place of the first thread's call the second makes all of its own.

    Where there is no such place, it calls once the first has ended.
    """

    seconds: float | None = None  # that both threads have to end

    def __init__(self, place: int | None, patience: float):
        super().__init__()
        self.place, self.operators, self.in_vain = place, 0, False
        self._turns = Turns(patience)

    def before(self, operator) -> None:
        self.operators += 1
        if self.operators - 1 == self.place:
            self.in_vain = not self._turns.next(0)

    def run(self, device: str, calls) -> list[list]:
        together = threading.Barrier(len(calls))

        def call(number: int) -> list:
            together.wait()
            try:
                if number:
                    self._turns.wait(1)
                    return _once(*calls[number])
                with self:
                    return self._first(*calls[number])
            finally:
                self._turns.end()

        return in_threads(device, call, seconds=self.seconds)

    def _first(self, multiply: Callable, x: torch.Tensor) -> list:
        return _once(multiply, x)


class BrokenOff(Inside):
    """Then that operator raises, once the second thread has ended or waits for the first one."""

    def __init__(self, place: int, patience: float):
        super().__init__(place, patience)
        self.seconds = max(LONGEST, 20 * patience)
        self.is_broken = False

    def before(self, operator) -> None:
        super().before(operator)
        if self.operators - 1 == self.place:
            self.is_broken = True
            if makes_a_tensor(operator):
                raise torch.OutOfMemoryError("out of memory (made by gptq-fuzz)")
            raise Injected("raised by gptq-fuzz in the middle of a call")

    def _first(self, multiply: Callable, x: torch.Tensor) -> list:
        try:
            return _once(multiply, x)
        except Exception:  # whatever the kernel makes of what was raised in it
            if not self.is_broken:
                raise
            return []

    def run_later(self, device: str, calls) -> list[list]:
        """A call of each thread after that."""
        return in_threads(device, lambda number: _once(*calls[number]), seconds=self.seconds)


class BrokenInItsThread(BrokenOff):
    """The first operator of a thread of the kernel's own raises, in the first thread's call, before
    the second thread makes all of its own: whose error that is shows when both are waited for.
    """

    def __init__(self, place: int, patience: float):
        super().__init__(place, patience)
        self._broken = threading.Event()
        self._its_threads = InItsThreads(self, in_turn=False)

    def before(self, operator) -> None:
        if threading.current_thread().name == OURS:
            if self.operators == self.place and self._its_threads.has_met_any:
                self._broken.wait(PATIENCE)
            Inside.before(self, operator)
        elif not self.is_broken:
            self.is_broken = True
            self._broken.set()
            raise Injected("raised by gptq-fuzz in a thread of the kernel's own")

    def _first(self, multiply: Callable, x: torch.Tensor) -> list:
        with self._its_threads:
            return super()._first(multiply, x)


def _once(multiply: Callable, x: torch.Tensor) -> list:
    return [multiply(x)]
