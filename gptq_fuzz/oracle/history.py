"""Histories: layers loaded, called, rewritten and dropped, with a judgement after every step.

Memory that a layer or an x leaves is given to the next one of its shapes, see memory.py, so that
what a kernel knows again by its address is there.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import gc
import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import torch

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.backend import Backend
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.history import (
    ALL,
    FORM,
    INFERENCE,
    LOADS,
    OPERANDS,
    PARAMETERS,
    WITH_NEW_X,
    Step,
    is_same_x,
)
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.oracle.collected import Collected
from gptq_fuzz.oracle.conditions.ambient import (
    CONTEXTS,
    OF_A_THREAD,
    in_contexts,
    in_one_region,
    put_under,
    with_grad,
)
from gptq_fuzz.oracle.conditions.threads import Loading, among_many, is_interpreted, one_thread
from gptq_fuzz.oracle.each_operator import EachOperator, Injected, OperatorsCounted, RaisesAt
from gptq_fuzz.oracle.examination import (
    FILTERS,
    LATE,
    Damaged,
    Examination,
    Request,
    Skipped,
    WrongType,
    same_bits,
)
from gptq_fuzz.oracle.interrupts import GOES_ON, InMainThread, InterruptsAt
from gptq_fuzz.oracle.memory import Memory, put_together
from gptq_fuzz.oracle.messages import describe
from gptq_fuzz.oracle.own_threads import InItsThreads
from gptq_fuzz.oracle.surroundings import (
    differing,
    global_state,
    restore_state,
)
from gptq_fuzz.problem.bad import invalidate
from gptq_fuzz.problem.fills import FIELDS, Values, make_values
from gptq_fuzz.problem.layouts import Guarded, as_parameter, stored_cells
from gptq_fuzz.problem.operands import Operands, Product, judged_on
from gptq_fuzz.problem.rounding import FORMATS

MANY, IN_TURN = 64, 4  # layers; how many are looked at after a call
HELD = 8  # results that are kept while later calls run; beside those of calls 1, 2, 4, 8, ...
OF_EACH = 0.04  # seconds, times layers, in which two threads call all of them
AT_ONCE = 64  # calls between two looks at the clock
ROUNDED = ("randn", "wide", "big", "tiny")  # fills whose sums have several right results
NOWHERE = nullcontext()
CELLS = {torch.float16: torch.int16, torch.bfloat16: torch.int16, torch.float32: torch.int32}


def _copied(view: torch.Tensor) -> torch.Tensor:
    """As `copy.deepcopy` makes it. Raises Wrong where something noted at it cannot be copied."""
    try:
        return copy.deepcopy(view)
    except Exception:  # noqa: BLE001 - whatever was noted raises
        plain = copy.deepcopy(view.detach())
        try:
            copy.deepcopy(vars(view))
        except Exception as problem:
            message = f"a tensor of the layer cannot be copied any more: {describe(problem)}"
            raise Wrong(kinds.INPUT_CHANGED, message) from problem
        return plain


def _pickled(view: torch.Tensor) -> torch.Tensor:
    """As `pickle` makes it and reads it, without what is noted where that cannot be."""
    try:
        return pickle.loads(pickle.dumps(view))
    except Exception:  # noqa: BLE001 - whatever was noted raises
        return pickle.loads(pickle.dumps(view.detach()))


COPIES = {"deepcopy": _copied, "pickle": _pickled}


class Interrupted(KeyboardInterrupt):
    """What a step `interrupt` raises in a call: no Exception, as where a user stops it."""


class Wrong(Exception):
    """A step that was not right: what its verdict says."""

    def __init__(self, kind: str, message: str, where: str = "", ratio: float = 0.0):
        super().__init__(message)
        self.kind, self.message, self.where, self.ratio = kind, message, where, ratio


@dataclass
class Layer:
    """A loaded layer: its numbers, its tensors, and what `prepare` made of them."""

    case: Case
    values: Values
    guarded: dict[str, Guarded]
    state: object = None
    prepared: int = 0  # times
    has_parameters: bool = False  # its tensors are some, and those that replace them
    # By case and seed of x: the result, and the step that gave it, until a tensor changes
    given: dict[tuple[Case, int], tuple[torch.Tensor, str]] = field(default_factory=dict)


@dataclass
class Kept:
    """A result that the caller holds, a copy of its bytes, and the step that gave it."""

    out: torch.Tensor
    before: torch.Tensor
    step: str

    def is_unchanged(self) -> bool:
        return torch.equal(_cells(self.out), self.before)


@dataclass
class Fed:
    """A result that is an x now, the very tensor, and a copy of it; see `Guarded`."""

    view: torch.Tensor
    original: torch.Tensor

    def is_untouched(self) -> bool:
        return torch.equal(_cells(self.view), _cells(self.original))

    def is_inside(self) -> bool:
        """Whether it is x that has changed: around it nothing is looked at."""
        return True


@dataclass
class Freed:
    """What is left of an operand that the engine has let go of: its numbers; see `Guarded`."""

    original: torch.Tensor

    @property
    def view(self) -> torch.Tensor:
        return self.original

    def is_untouched(self) -> bool:
        return True


@dataclass
class Part:
    """Some rows of a tensor, a view of it, and that, in which is seen what becomes of them."""

    view: torch.Tensor
    whole: Guarded | Fed | Part

    def is_untouched(self) -> bool:
        return self.whole.is_untouched()

    def is_inside(self) -> bool:
        return self.whole.is_inside()


@dataclass
class OfATable(Part):
    """The first rows of another layer's g_idx, and their numbers; see `Guarded`."""

    original: torch.Tensor


PART_OF = {  # the first half of all rows, so many of the last, every second one, one for all
    "head": lambda rows, count: rows[:count],
    "tail": lambda rows, count: rows[len(rows) - count :],
    "step": lambda rows, count: rows[::2],
    "one": lambda rows, count: rows[:1].expand(count, -1),
}


class OperandsOfAnyOrigin(Operands):
    """Whose x no fill has drawn, or another one than the layer."""

    @property
    def product(self) -> Product:
        return replace(super().product, fill=None)


@dataclass
class Asked:
    """The last x, and by layer the result that was right for it, until one of them changes."""

    x: Guarded | Fed | Part
    left: torch.Tensor  # its values, where they are judged
    case: Case
    seed: int = 0  # of an x that was drawn
    right: dict[int, torch.Tensor] = field(default_factory=dict)
    into: dict[int, Guarded] = field(default_factory=dict)  # and what it was written into


class LayerCall(Examination):
    """A call of one loaded layer, within a context; `raw` is the result as it came."""

    raw = None
    ask: Callable[[Callable], object] = staticmethod(lambda call: call())  # here, or in a thread
    within = contextlib.nullcontext()
    into: Guarded | None = None  # what the call is handed for its result; None: something new

    def __init__(self, backend: Backend, device: str, zones: bool, layer: Layer, operands):
        super().__init__(backend, operands.case, device, Request(()), zones)
        self.layer, self.operands = layer, operands

    def require_intact(self, operands) -> None:
        """Of all layers that is looked at after each call, see `History._surroundings`."""

    def _output_for(self, operands) -> Guarded | None:
        fresh = super()._output_for(operands)
        if fresh and self.into:
            self.into.write(fresh.view)
        else:
            self.into = fresh
        return self.into

    def _answer(self, operands, out):
        def asked():
            with self.within:
                return self._result_as_it_comes(operands, out)

        self.raw = self.ask(asked)
        return self.raw

    def _result_as_it_comes(self, operands, out):
        if operands.case.backward:
            return super()._answer(operands, out)
        return self.multiplied(operands.left, out)

    def multiplied(self, x: torch.Tensor, out: torch.Tensor | None = None):
        """x [..., K] times the layer."""
        options = dict(self.case.extra)
        if self.backend.run is None:
            return self.backend.multiply(x, self.operands.weights(), out, **options)
        options |= {} if out is None else {"out": out}
        return self.backend.run(self.layer.state, x=x, **options)


class History:
    """The life of some layers on one Backend; `verdict(steps)` runs it.

    `progress(place)` is told which step comes, and now and then that a step goes on.
    """

    def __init__(
        self,
        backend: Backend,
        device: str,
        zones: bool = True,
        progress: Callable[[int], None] = lambda place: None,
    ):
        self.backend, self.device, self.zones, self.progress = backend, device, zones, progress
        self.layers: dict[int, Layer] = {}
        self.memory = Memory(device)
        self.asked: Asked | None = None
        self.held: deque[Kept] = deque(maxlen=HELD)
        self.longest_held: list[Kept] = []
        self.calls = 0
        self.place = 0
        # Of the last whole call, where a step counts by it: `thread` of the step -> how many
        self.operators: dict[str, int] = {}
        self.caught: Exception | None = None  # of a call broken off, held during the next one
        self.pool: ThreadPoolExecutor | None = None  # of one thread, once a step is asked by it
        self.collected = Collected()  # what is left in a cycle of references, until the next call

    def verdict(self, steps: list[Step], seconds: float = float("inf")) -> Verdict:
        """Run the steps until one is not right, or no time is left."""
        is_cast = any("autocast" in step.conditions for step in steps)
        try:
            with in_one_region(self.device) if is_cast else NOWHERE:
                return self._verdict(steps, seconds)
        finally:
            if self.pool:
                self.pool.shutdown()

    def _verdict(self, steps: list[Step], seconds: float) -> Verdict:
        started = time.monotonic()
        self.ends = started + seconds
        self.before, self.last = global_state(), len(steps) - 1
        self.operators = {step.thread: 0 for step in steps if step.parts or step.from_last}
        result = Verdict(kinds.PASS, steps[0].case)
        for self.place, step in enumerate(steps):
            if time.monotonic() > self.ends:
                break
            self.progress(self.place)
            result = self._judged(step)
            if result.kind != kinds.PASS:
                break
        restore_state(self.before)
        result.seconds = time.monotonic() - started
        return result

    def _judged(self, step: Step) -> Verdict:
        exam = Examination(self.backend, step.case, self.device, Request(()), self.zones)
        at = f"at step {self.place + 1} ({step.text}): "
        try:
            if self.backend.skip and (reason := self.backend.skip(step.case, self.device)):
                raise Skipped(reason)
            self._done(step)
            self._surroundings()
        except Wrong as found:
            details = {"check": "history", "ratio": found.ratio}
            if found.kind == kinds.NONDETERMINISTIC:
                details |= {"wrong_runs": 1, "runs": 2}
            return Verdict(found.kind, step.case, at + found.message, found.where, **details)
        except WrongType as problem:
            return Verdict(kinds.WRONG_TYPE, step.case, at + str(problem), check="history")
        except Damaged as problem:
            return Verdict(problem.kind, step.case, at + str(problem), check="history")
        except Skipped as reason:
            if step.verb in LOADS or self.place == self.last:
                return Verdict(kinds.SKIPPED, step.case, str(reason))
            if step.verb in WITH_NEW_X:  # which later steps may ask for again
                self._new_x(step, step.seed)
        except Exception as problem:  # noqa: BLE001 - a kernel may raise anything
            found = exam._raised(problem)
            found.check = "history"
            if found.kind != kinds.SKIPPED:
                found.message = at + found.message
            return found
        return Verdict(kinds.PASS, step.case)

    def _done(self, step: Step) -> None:
        held = self.caught if step.verb in WITH_NEW_X or step.verb == "again" else None
        self.caught = None
        try:
            getattr(self, f"_{step.verb}")(step)
        finally:
            del held  # an exception keeps the frames of its call
            if self.collected.is_stuck:
                raise Wrong(kinds.TIMED_OUT, "what is done at the end of a layer does not end")

    # Steps that change layers

    def _load(self, step: Step) -> None:
        case = step.case
        values = make_values(case, self._judged_on(case))
        has_parameters = PARAMETERS in step.conditions
        conditions = tuple(name for name in step.conditions if name != PARAMETERS)
        self._place_layer(step.layer, case, values, has_parameters, conditions=conditions)

    def _loads(self, step: Step) -> None:
        for number in range(step.count):
            case = step.case.replace(seed=step.case.seed + number)
            self._load(replace(step, layer=number, case=case))

    def _experts(self, step: Step) -> None:
        """As `_loads`, but each operand of all layers is a part of one tensor."""
        cases = [step.case.replace(seed=step.case.seed + number) for number in range(step.count)]
        values = [make_values(case, self._judged_on(case)) for case in cases]
        guarded = [self._packed(*loaded) for loaded in zip(cases, values, strict=True)]
        for name in guarded[0]:
            put_together([operands[name] for operands in guarded])
        for number, loaded in enumerate(zip(cases, values, guarded, strict=True)):
            self._forget(number)
            self._add(number, Layer(*loaded))

    def _copy(self, step: Step) -> None:
        source = self.layers[step.source]
        values = replace(source.values)
        self._place_layer(step.layer, source.case, values, source.has_parameters)

    def _share(self, step: Step) -> None:
        """Another layer beside one that is there, with one operand of it: the same tensor."""
        source = self.layers[step.source]
        values = make_values(step.case, self._judged_on(step.case))
        values = _with(values, source.values, step.operand)
        operand = source.guarded[step.operand]
        if step.case.k < source.case.k:
            values.g_idx, rows = values.g_idx[: step.case.k], slice(step.case.k)
            operand = OfATable(operand.view[rows], operand, operand.original[rows])
        shared = {step.operand: operand}
        self._place_layer(step.layer, step.case, values, source.has_parameters, shared)

    def _twin(self, step: Step) -> None:
        """Another layer in copies of the tensors, with what is noted at them."""
        source = self.layers[step.source]
        guarded = {
            name: operand.copied(COPIES[step.way]) for name, operand in source.guarded.items()
        }
        self._forget(step.layer)
        own = {"values": replace(source.values), "guarded": guarded, "given": {}}
        twin = replace(source, state=None, prepared=0, **own)
        self._add(step.layer, twin)

    def _place_layer(
        self,
        number: int,
        case: Case,
        values: Values,
        has_parameters: bool,
        shared: dict | None = None,
        conditions: tuple[str, ...] = (),
    ) -> None:
        guarded = self._packed(case, values, has_parameters) | (shared or {})
        self._forget(number)
        self.memory.place({name: guarded[name] for name in guarded if name not in (shared or {})})
        layer = Layer(case, values, guarded, has_parameters=has_parameters)
        self._add(number, layer, conditions)

    def _add(self, number: int, layer: Layer, conditions: tuple[str, ...] = ()) -> None:
        self.layers[number] = layer
        self._prepare(layer, conditions)

    def _packed(
        self, case: Case, values: Values, has_parameters: bool = False
    ) -> dict[str, Guarded]:
        """New tensors of a layer; x is none of them."""
        guarded = Operands(case, self.device, values=values, zones=self.zones).guarded
        layer = {name: operand for name, operand in guarded.items() if name != "left"}
        for operand in layer.values() if has_parameters else ():
            operand.view = as_parameter(operand.view)
        return layer

    def _drop(self, step: Step) -> None:
        """In the mode of whoever drops it."""
        dtype = FORMATS[step.case.dtype].torch_dtype
        with contextlib.ExitStack() as stack:
            for name in step.conditions:
                stack.enter_context(CONTEXTS[name](torch.device(self.device).type, dtype))
            self._forget(step.layer)
            gc.collect(1)  # what a kernel made of a layer may refer to itself

    def _leave(self, step: Step) -> None:
        """Only a cycle of references holds the layer, until an operator of the next call."""
        layer = self.layers[step.layer]
        self._forget(step.layer)
        gc.collect(1)  # another cycle may be ours
        self.collected.leave(self._operator_of(step), layer)

    def _stop(self, step: Step) -> None:
        """A layer is loaded whose preparation is interrupted: nobody has it."""
        if self.backend.prepare is None:
            return
        values = make_values(step.case, self._judged_on(step.case))
        layer = Layer(step.case, values, self._packed(step.case, values))
        operands = self._operands(layer, None, None, step.case)
        exam = LayerCall(self.backend, self.device, self.zones, layer, operands)
        stops = RaisesAt(step.operator, Interrupted)
        with contextlib.suppress(Interrupted, Exception), exam.surrounded(), stops:
            self.backend.prepare(**operands.weights())

    def _free(self, step: Step) -> None:
        """Nobody but the kernel holds the operands that it was prepared with; else it gets them."""
        if self.backend.prepare is None:
            return
        layer = self.layers[step.layer]
        layer.guarded = {name: Freed(operand.original) for name, operand in layer.guarded.items()}
        gc.collect(1)
        self.memory.poison()

    def _forget(self, number: int) -> None:
        """Nobody holds the layer of that number any more, if there is one."""
        self.layers.pop(number, None)
        if self.asked:
            self.asked.right.pop(number, None)

    def _write(self, step: Step) -> None:
        layer = self.layers[step.layer]
        fresh = self._rewritten(layer, step)
        if fresh is not None:
            operand = layer.guarded[step.operand]
            for _ in range(step.times - 1):  # as a loader writes a tensor part by part
                operand.view[:0].zero_()
            operand.view.copy_(fresh.view)
            operand.original.copy_(fresh.original)
            for number, other in self.layers.items():
                if other.guarded.get(step.operand) is operand:
                    other.values = _with(other.values, layer.values, step.operand)
                    self._changed(number)

    def _replace(self, step: Step) -> None:
        self._put_another(step, self.memory.place)

    def _renew(self, step: Step) -> None:
        """As `_replace`, by an object that has the id of the one before, which is dead."""
        operands = self.layers[step.layer].guarded
        if step.operand in operands:
            self._put_another(step, self.memory.placing_as(operands[step.operand].view))

    def _put_another(self, step: Step, place: Callable[[dict[str, Guarded]], None]) -> None:
        layer = self.layers[step.layer]
        fresh = self._rewritten(layer, step)
        if fresh is not None:
            del layer.guarded[step.operand]  # its memory is free for the next one
            place({step.operand: fresh})
            layer.guarded[step.operand] = fresh
            self._changed(step.layer)

    def _move(self, step: Step) -> None:
        """The same tensors in other memory, as `Module.to` leaves them; no number is written.

        What was prepared may point to the memory before: it is made anew.
        """
        guarded = self.layers[step.layer].guarded
        names = list(guarded) if step.operand == ALL else [step.operand]
        for name in names:
            self.memory.move(name, guarded[name])
        moved = [guarded[name] for name in names]
        for layer in self.layers.values():
            if any(operand in moved for operand in layer.guarded.values()):
                layer.given.clear()
                self._prepare(layer)

    def _wait(self, step: Step) -> None:
        """Nobody calls any layer for so long."""
        time.sleep(max(0.0, min(step.milliseconds / 1000, self.ends - time.monotonic())))

    def _rewritten(self, layer: Layer, step: Step) -> Guarded | None:
        """The operand with other numbers, which are the layer's from now on; None without it."""
        if step.operand not in layer.guarded:
            return None
        layer.values = rewritten(layer.values, layer.case, step.operand, step.extent, step.seed)
        return self._packed(layer.case, layer.values, layer.has_parameters)[step.operand]

    def _changed(self, number: int) -> None:
        self.layers[number].given.clear()
        if self.asked:
            self.asked.right.pop(number, None)
        self._prepare(self.layers[number])

    def _prepare(self, layer: Layer, conditions: tuple[str, ...] = ()) -> None:
        """A prepared state need not notice what is written later: it is made anew, in turn while
        there is the one before, as `state = prepare(...)` does, and after its end.
        """
        if self.backend.prepare is None:
            return
        layer.prepared += 1
        if layer.prepared % 2:
            layer.state = None
        operands = self._operands(layer, None, None, layer.case)
        exam = LayerCall(self.backend, self.device, self.zones, layer, operands)
        put_under(exam, conditions)
        with exam.surrounded(), self._collecting():
            layer.state = self.backend.prepare(**operands.weights())
        self._require_unchanged(exam)

    # Steps that call

    def _call(self, step: Step) -> None:
        for turn in self._turns(step.times):
            self._new_x(step, step.seed + turn)
            self._multiply(step)

    def _calls(self, step: Step) -> None:
        for number in range(step.count):
            if number and time.monotonic() > self.ends:
                return
            case = self._asked_of(number, step)
            if self.asked is None or not is_same_x(self.asked.case, case):
                self._new_x(replace(step, case=case), step.seed)
            self._multiply(replace(step, layer=number, case=case))
            self.progress(self.place)

    def _asked_of(self, number: int, step: Step) -> Case:
        """A layer's case with the rows and the form of x that a step names for the last of all."""
        form = {name: getattr(step.case, name) for name in ("m", *FORM)}
        return self.layers[number].case.replace(**form)

    def _threads(self, step: Step) -> None:
        """Two threads call all layers, which were right alone, at once."""
        self.asked = None
        self._calls(step)
        asked = self.asked
        if len(asked.right) < step.count:  # no time was left
            return
        cases = [self._asked_of(at, step) for at in range(step.count)]
        exams = [
            self._prepared_call(replace(step, layer=at, case=case)) for at, case in enumerate(cases)
        ]
        if is_interpreted(lambda: exams[0].call(exams[0].operands)):
            raise Skipped("interpreter_has_one_thread")
        self._at_once(exams, [exam.multiplied for exam in exams], step)
        if self.backend.prepare and not any(map(_is_freed, self.layers.values())):
            self._load_at_once(exams, step)
        self._require_unchanged(exams[0])

    def _at_once(self, exams: list[LayerCall], calls: list[Callable], step: Step) -> None:
        """Two threads make calls of all layers at once, each of them a number of times."""
        inner = tuple(name for name in step.conditions if name in OF_A_THREAD)
        with exams[0].surrounded():
            if inner:
                calls = [_under(exam, call, inner) for exam, call in zip(exams, calls, strict=True)]
            seconds = min(OF_EACH * step.count, self.ends - time.monotonic())
            for given in among_many(self.device, calls, self.asked.x.view, seconds):
                self.progress(self.place)
                self._require_each_right(exams, given)

    def _load_at_once(self, exams: list[LayerCall], step: Step) -> None:
        """Two threads load all layers, and call each; then it is called as it was loaded."""
        loading = [
            Loading(self.backend, exam.operands.weights(), dict(exam.case.extra)) for exam in exams
        ]
        if is_interpreted(lambda: loading[0](self.asked.x.view)):
            return
        self._at_once(exams, loading, step)
        for number, load in enumerate(loading):
            for multiply in load.loaded:
                with exams[number].surrounded():
                    out = multiply(self.asked.x.view)
                self._require_each_right(exams, [(number, out)])

    def _require_each_right(self, exams: list[LayerCall], given: list[tuple]) -> None:
        for number, out in given:
            exam = exams[number]
            rows = exam.rows_of(out, exam.operands)
            if not same_bits(self.asked.right[number], rows):
                mismatch = exam.expectation(exam.operands).check(rows)
                if mismatch.count:
                    at = f" of layer {number}, while another thread called others"
                    raise Wrong(
                        kinds.STATE_LEAKED, mismatch.describe(at), exam._where(mismatch.wrong),
                        mismatch.worst_ratio(),
                    )  # fmt: skip

    def _again(self, step: Step) -> None:
        for _ in self._turns(step.times):
            self._multiply(step, self.asked.into.get(step.layer))

    def _part(self, step: Step) -> None:
        """A call with some rows of the last x, which stays that of later steps."""
        whole, rows, count = self.asked, PART_OF[step.part], step.case.m
        part = Part(rows(whole.x.view, count), whole.x)
        self.asked = Asked(part, rows(whole.left, count), step.case)
        try:
            self._multiply(step)
        finally:
            self.asked = whole

    def _decode(self, step: Step) -> None:
        """Call after call with ever new rows, each a tensor of its own; judged at the end."""
        layer, least = self.layers[step.layer], step.case.m
        case = step.case.replace(m=least * step.times, rank=2)  # of all calls
        left = make_values(case.replace(seed=step.seed), self._judged_on(step.case)).left
        one = LayerCall(self.backend, self.device, self.zones, layer,
                        self._operands(layer, None, None, step.case))  # fmt: skip
        rows = left.to(one.operands.out_dtype).to(self.device)
        outs, done = rows.new_empty(len(rows), case.columns), 0
        with one.surrounded():
            for done in range(least, len(rows) + 1, least):
                if done // least % AT_ONCE == 0:
                    self.progress(self.place)
                    if time.monotonic() > self.ends:
                        done -= least
                        break
                x = rows[done - least : done].clone().view(*one.operands.out_shape[:-1], -1)
                outs[done - least : done] = one.rows_of(one.multiplied(x), one.operands)
        self._require_unchanged(one)
        self.calls += done // least
        operands = self._operands(layer, left[:done], None, case.replace(m=done))
        whole = LayerCall(self.backend, self.device, self.zones, layer, operands)
        mismatch = whole.expectation(operands).check(outs[:done])
        if mismatch.count:
            call = int(mismatch.wrong.any(1).nonzero()[0]) // least + 1
            self._raise(whole, mismatch, f"at call {call}: ", self.place == call == 1)

    def _grad(self, step: Step) -> None:
        """The gradient with respect to x, of another one that nobody asks for again."""
        layer = self.layers[step.layer]
        fresh, left = self._new_left(step.case, step.seed)
        operands = self._operands(layer, left, fresh, step.case)
        exam = LayerCall(self.backend, self.device, self.zones, layer, operands)
        out = exam.call(operands)
        self._require_unchanged(exam)
        self._require_untouched(fresh, "the gradient")
        mismatch = exam.expectation(operands).check(out)
        if mismatch.count:
            self._raise(exam, mismatch, "", self.place == 1)

    def _turns(self, times: int):
        for turn in range(times):
            if turn and time.monotonic() > self.ends:
                return
            self.progress(self.place)
            yield turn
            if turn + 1 < times:
                self._surroundings()

    def _x(self, step: Step) -> None:
        asked = self.asked
        fresh, asked.left = self._new_left(asked.case, step.seed)
        asked.seed = step.seed
        # What was made in inference mode can be written there alone, and counts no writes
        with torch.inference_mode() if asked.x.view.is_inference() else nullcontext():
            for ours, theirs in ((asked.x.view, fresh.view), (asked.x.original, fresh.original)):
                stored_cells(ours, ours.stride()).copy_(stored_cells(theirs, theirs.stride()))
        asked.right.clear()

    def _new_x(self, step: Step, seed: int) -> None:
        self.asked = None  # its memory is free for the next one
        with torch.inference_mode() if INFERENCE in step.conditions else nullcontext():
            x, left = self._new_left(step.case, seed)
            self.memory.place({"x": x})
        self.asked = Asked(x, left, step.case, seed)

    def _new_left(self, case: Case, seed: int) -> tuple[Guarded, torch.Tensor]:
        """x for a case, and its values; of the other operands none is made."""
        values = make_values(case.replace(seed=seed), self._judged_on(case))
        others = dict.fromkeys((*OPERANDS, "bias", "fractions"))
        operands = Operands(case, self.device, values=values, zones=self.zones, shared=others)
        return operands.guarded["left"], values.left

    def _judged_on(self, case: Case):
        """Where a layer's numbers lie, and those of each x that it is called with."""
        return judged_on(case.replace(m=max(1, self.backend.limits.m_least)), self.device)

    def _operands(self, layer: Layer, left: torch.Tensor | None, x, case: Case) -> Operands:
        shared = {**layer.guarded, "left": x}
        values = replace(layer.values, left=left)
        is_of_one_fill = not isinstance(x, Fed | Part) and case.fill == layer.case.fill
        kind = Operands if is_of_one_fill else OperandsOfAnyOrigin
        return kind(case, self.device, values=values, zones=self.zones, shared=shared)

    def _prepared_call(self, step: Step) -> LayerCall:
        layer, asked = self.layers[step.layer], self.asked
        operands = self._operands(layer, asked.left, asked.x, step.case)
        exam = LayerCall(self.backend, self.device, self.zones, layer, operands)
        put_under(exam, step.conditions)
        if step.by:
            exam.ask = functools.partial(self._by_another_thread, exam, step.conditions)
        exam.within = self._collecting()
        return exam

    def _by_another_thread(self, exam: LayerCall, conditions: tuple[str, ...], call: Callable):
        """`call()`, made by the second thread of the program, under what torch has for each."""
        self.pool = self.pool or one_thread(self.device)
        inner = tuple(name for name in conditions if name in OF_A_THREAD)

        def under_them():
            with in_contexts(exam, inner):
                return call()

        return self.pool.submit(under_them).result()

    def _collecting(self):
        """Around a call: what is left is collected in the middle of it."""
        return self.collected if self.collected.is_waiting else nullcontext()

    def _multiply(self, step: Step, into: Guarded | None = None) -> None:
        """One call with the last x: right, and kept. `into` is written once more, by its owner."""
        exam = self._prepared_call(step)
        if into and into.view.shape == exam.operands.out_shape:
            exam.into = into
            self._let_go(into.view)
        counted = {thread: OperatorsCounted() for thread in self.operators}
        exam.within = _seen_by(counted, exam.within)
        with self._asking_as(step, exam):
            out = exam.call(exam.operands)
        self.operators = {thread: mode.seen for thread, mode in counted.items()}
        if exam.into:
            self.asked.into[step.layer] = exam.into
        self._require_unchanged(exam)
        self._judge(step, exam, out.detach())

    def _asking_as(self, step: Step, exam: LayerCall):
        """Around a call: its x asks for a gradient, where the step says so."""
        return with_grad(exam.operands.left) if "grad" in step.conditions else nullcontext()

    def _require_unchanged(self, exam: LayerCall) -> None:
        changed = [name for name in exam.changed if name != FILTERS]  # an import may add some
        if changed:
            raise Wrong(kinds.STATE_LEAKED, f"the kernel changed {', '.join(changed)}")

    def _feed(self, step: Step) -> None:
        """The result of one layer, changed in place, is the x of the next: the very tensor."""
        source = self.layers[step.source].case.replace(m=step.rows)
        first = replace(step, layer=step.source, case=source)
        self._new_x(first, step.seed)
        exam = self._prepared_call(first)
        out = exam.call(exam.operands)
        self._require_unchanged(exam)
        self._require_right(first, exam, out)
        x = exam.raw
        if x.storage_offset() or not x.is_contiguous():  # it may be no x that the kernel takes
            x = x.clone(memory_format=torch.contiguous_format)
        if step.change == "relu":
            x.relu_()
        else:
            x.add_(self._new_left(step.case, step.seed + 1)[0].view)
        left = x.double().view(-1, step.case.k).to(self._judged_on(step.case))
        self.asked = Asked(Fed(x, x.clone()), left, step.case)
        self._multiply(step)

    def _judge(self, step: Step, exam: LayerCall, out: torch.Tensor) -> None:
        self._require_right(step, exam, out)
        self._keep(exam.raw.detach(), step)
        if exam.into is None and self.calls & self.calls - 1 == 0:
            _put_into_another_form(exam.raw)

    def _require_right(self, step: Step, exam: LayerCall, out: torch.Tensor) -> None:
        self.calls += 1
        known = self.asked.right.get(step.layer)
        if known is None or not same_bits(known, out):
            mismatch = exam.expectation(exam.operands).check(out)
            if mismatch.count:
                self._raise(exam, mismatch, "", self.place == self.calls == 1)
            self.asked.right[step.layer] = out.clone()
        is_of_one_fill = step.case.fill == self.layers[step.layer].case.fill
        if self.backend.deterministic and step.case.fill in ROUNDED and is_of_one_fill:
            self._require_same_bits(step, out)

    def _require_same_bits(self, step: Step, out: torch.Tensor) -> None:
        """As the same call gave before, whatever was called in between."""
        if isinstance(self.asked.x, Fed | Part) or step.conditions:
            return
        asked, given = (step.case, self.asked.seed), self.layers[step.layer].given
        before, earlier = given.setdefault(asked, (out.clone(), step.text))
        if not same_bits(before, out):
            count = int((before != out).sum())
            message = f"{count} of {out.numel()} elements have other bits than at {earlier} before"
            raise Wrong(kinds.NONDETERMINISTIC, message)

    def _raise(self, exam: LayerCall, mismatch, at: str, is_first: bool) -> None:
        """`is_first`: a layer was loaded, and called. Raises Wrong."""
        kind = kinds.WRONG if is_first else kinds.STATE_LEAKED
        where = exam._where(mismatch.wrong)
        raise Wrong(kind, at + mismatch.describe(), where, mismatch.worst_ratio())

    def _refuse(self, step: Step) -> None:
        layer = self.layers[step.layer]
        operands = self._operands(layer, *self._new_left(step.case, step.seed)[::-1], step.case)
        exam = LayerCall(self.backend, self.device, self.zones, layer, operands)
        verdict = self._refusal_of_own(exam) if step.own else exam._must_refuse()
        if verdict.kind != kinds.REJECTED:
            raise Wrong(verdict.kind, verdict.message)

    def _refusal_of_own(self, exam: LayerCall) -> Verdict:
        """The invalid operand is the layer's own tensor, which a kernel may have found right."""
        operands = exam.operands
        left, weights = invalidate(operands.case, operands.left, operands.weights())
        own = operands.guarded["g_idx"]
        right = own.original.clone()
        own.write(weights["g_idx"])
        try:
            return exam._refusal_of(left, operands.weights())
        finally:
            own.write(right)

    def _break(self, step: Step) -> None:
        self._broken_off(step, RaisesAt(self._operator_of(step), Injected))

    def _interrupt(self, step: Step) -> None:
        if not step.thread:
            self._broken_off(step, RaisesAt(self._operator_of(step), Interrupted))
            return
        main = InMainThread(Interrupted)
        mode = InterruptsAt(self._operator_of(step), main)
        self._broken_off(step, mode, main if main.can_be() else NOWHERE)

    def _broken_off(self, step: Step, mode: EachOperator, inside=NOWHERE) -> None:
        self._new_x(step, step.seed)
        exam = self._prepared_call(step)
        exam.within = _seen_by({step.thread: mode}, exam.within, inside)
        try:
            with self._asking_as(step, exam):
                out = exam.call(exam.operands)
        except (WrongType, Damaged, Skipped):
            raise
        except Interrupted:
            self._require_unchanged(exam)
            return
        except Exception as problem:  # noqa: BLE001 - whatever the kernel makes of what was raised
            self.caught = problem
            self._require_unchanged(exam)
            return
        self._require_unchanged(exam)
        try:
            self._require_right(step, exam, out)
        except Wrong as found:  # the kernel has caught what was raised, and answered nevertheless
            kind = kinds.WRONG if found.kind == kinds.STATE_LEAKED else found.kind
            raise Wrong(kind, found.message, found.where, found.ratio) from found
        self._keep(exam.raw.detach(), step)

    def _operator_of(self, step: Step) -> int:
        """The number that a step names; where it counts by the last whole call, its own."""
        if step.from_last:
            return max(1, self.operators[step.thread] + 1 - step.from_last)
        if step.parts:
            return -(-self.operators[step.thread] * step.operator // step.parts)
        return step.operator

    def _track(self, step: Step) -> None:
        """A call with an x that requires a gradient: what comes of it is no matter, unless the
        kernel promises that; see the condition `grad`.
        """
        self._new_x(step, step.seed)
        exam = self._prepared_call(step)
        with with_grad(exam.operands.left), contextlib.suppress(Exception):
            exam.call(exam.operands)

    # What is looked at after each step

    def _keep(self, out: torch.Tensor, step: Step) -> None:
        kept_ones = (*self.held, *self.longest_held)
        if out.numel() and any(self._is_shared(out, kept) for kept in kept_ones):
            raise Wrong(kinds.STATE_LEAKED, "the result shares memory with that of an earlier call")
        kept = Kept(out, _cells(out).clone(), step.text)
        if self.calls & self.calls - 1 == 0:
            self.longest_held.append(kept)
            return
        if len(self.held) == HELD:
            _spoil(self.held[0].out)
        self.held.append(kept)

    def _let_go(self, result: torch.Tensor) -> None:
        """Its caller no longer holds it as a result."""
        storage = result.untyped_storage().data_ptr()
        for kept_ones in (self.held, self.longest_held):
            others = [k for k in kept_ones if k.out.untyped_storage().data_ptr() != storage]
            kept_ones.clear()
            kept_ones.extend(others)

    def _is_shared(self, out: torch.Tensor, kept: Kept) -> bool:
        """Whether what is written into one result, which is its caller's, changes another."""
        if out.untyped_storage().data_ptr() != kept.out.untyped_storage().data_ptr():
            return False
        before = _cells(out).clone()
        _spoil(out)
        is_changed = not kept.is_unchanged()
        with torch.inference_mode():
            _cells(out).copy_(before)
        return is_changed

    def _surroundings(self) -> None:
        for kept in (*self.held, *self.longest_held):
            if not kept.is_unchanged():
                raise Wrong(kinds.STATE_LEAKED, f"the result of {kept.step}, still held, changed")
        for number, layer in self._looked_at():
            for name, operand in layer.guarded.items():
                self._require_untouched(operand, f"{name} of layer {number}")
        if self.asked:
            self._require_untouched(self.asked.x, "x")
        if changed := self._left_changed():
            raise Wrong(kinds.STATE_LEAKED, f"the kernel changed {', '.join(changed)}")

    def _left_changed(self) -> list[str]:
        """What differs of the global state, once threads that go on after an interrupt have had
        time to put back what they changed.
        """
        ends = time.monotonic() + GOES_ON
        while changed := differing(self.before, global_state()):
            if threading.active_count() == 1 or time.monotonic() > ends:
                break
            time.sleep(LATE)
        return changed

    def _looked_at(self) -> list[tuple[int, Layer]]:
        """All layers, at the end at the latest; of many some in turn, after each call."""
        layers = list(self.layers.items())
        if len(layers) <= MANY or self.place == self.last:
            return layers
        first = self.calls * IN_TURN % len(layers)
        return layers[first : first + IN_TURN]

    def _require_untouched(self, operand: Guarded, name: str) -> None:
        if operand.is_untouched():
            return
        if operand.is_inside():
            raise Wrong(kinds.INPUT_CHANGED, f"the kernel changed {name}")
        raise Wrong(kinds.OUT_OF_BOUNDS, f"the kernel wrote outside {name}")


def _is_freed(layer: Layer) -> bool:
    """Whether nobody but the kernel has what the layer was prepared with."""
    return any(isinstance(operand, Freed) for operand in layer.guarded.values())


@contextlib.contextmanager
def _seen_by(
    modes: dict[str, EachOperator],
    outside: contextlib.AbstractContextManager,
    inside: contextlib.AbstractContextManager = NOWHERE,
) -> Iterator[None]:
    """Modes that see operators of the caller, or of threads of the kernel's own."""
    with outside, contextlib.ExitStack() as stack:
        for thread, mode in modes.items():
            is_counted = isinstance(mode, OperatorsCounted)
            seen = InItsThreads(mode, in_turn=not is_counted) if thread else mode
            stack.enter_context(seen)
        stack.enter_context(inside)
        yield


def _under(exam: LayerCall, call: Callable, conditions: tuple[str, ...]) -> Callable:
    """`call(x)`, within conditions of the thread that makes it."""

    def multiplied(x: torch.Tensor):
        with in_contexts(exam, conditions):
            return call(x)

    return multiplied


def _with(values: Values, others: Values, operand: str) -> Values:
    """The numbers of a layer, but those of one operand, which are another one's: where the layer's
    are, as a small one is judged on a CPU and a large one on its GPU.
    """
    name = FIELDS[operand]
    return replace(values, **{name: getattr(others, name).to(values.codes.device)})


def rewritten(values: Values, case: Case, operand: str, extent: str, seed: int) -> Values:
    """The numbers of a layer with one word, one row of words or all of one operand changed.

    What is written comes from the same case with another seed. Rows of `g_idx` change places: two
    of them, or all by a rotation, so that groups keep their sizes.
    """
    if operand == "g_idx":
        return replace(values, g_idx=_reordered(values.g_idx, extent, seed))
    other = make_values(case.replace(seed=case.seed + seed + 1), values.codes.device)
    name = FIELDS[operand]
    mine, theirs = getattr(values, name).clone(), getattr(other, name)
    if operand == "bias":  # [N]: a row
        mine, theirs = mine[None], theirs[None]
    rows, columns = {"codes": (case.unit, 1), "zeros": (1, case.unit)}.get(name, (1, 1))
    if extent == "all":
        mine = theirs
    elif extent == "swap":
        mine = _swapped(mine.unflatten(0, (-1, rows)).unflatten(2, (-1, columns)), seed)
    else:
        differs = (mine != theirs).unflatten(0, (-1, rows)).unflatten(2, (-1, columns))
        words = differs.any(1).any(-1)  # [rows of words, words in a row]
        words = words.any(1, keepdim=True) if extent == "row" else words
        places = words.nonzero()
        if len(places):
            row, column = (int(at) for at in places[_scattered(seed, len(places))])
            cells = slice(row * rows, (row + 1) * rows)
            within = slice(column * columns, (column + 1) * columns)
            chosen = (cells, within if extent == "word" else slice(None))
            mine[chosen] = theirs[chosen]
    return replace(values, **{name: mine[0] if operand == "bias" else mine})


def _swapped(cells: torch.Tensor, seed: int) -> torch.Tensor:
    """[rows of words, rows, words, columns] with two words that differ in each other's place."""
    shape = cells.shape
    words = cells.transpose(1, 2).reshape(shape[0] * shape[2], -1)
    first = _scattered(seed, len(words))
    others = (words != words[first]).any(1).nonzero().flatten()
    if len(others):
        second = int(others[_scattered(seed, len(others))])
        words = words.clone()
        words[[first, second]] = words[[second, first]]
    blocks = words.view(shape[0], shape[2], shape[1], shape[3]).transpose(1, 2)
    return blocks.flatten(2).flatten(0, 1)


def _scattered(seed: int, count: int) -> int:
    """A place out of `count` that is rarely the first or the last."""
    return (count // 2 + seed * 7) % count


def _reordered(g_idx: torch.Tensor, extent: str, seed: int) -> torch.Tensor:
    if extent not in ("word", "swap"):
        return g_idx.roll(1 + seed)
    first = _scattered(seed, len(g_idx))
    others = (g_idx != g_idx[first]).nonzero()
    if not len(others):
        return g_idx
    changed, second = g_idx.clone(), int(others[_scattered(seed, len(others))])
    changed[first], changed[second] = g_idx[second], g_idx[first]
    return changed


def _cells(out: torch.Tensor) -> torch.Tensor:
    """The bits of a result, as integers."""
    return out.view(CELLS[out.dtype])


def _put_into_another_form(out: torch.Tensor) -> None:
    """Add a dimension to a result in place, as its caller may."""
    with contextlib.suppress(RuntimeError), torch.no_grad():  # one of inference mode
        out.unsqueeze_(0)


def _spoil(out: torch.Tensor) -> None:
    """Write into a result, as its caller may."""
    with contextlib.suppress(RuntimeError), torch.inference_mode():  # one with a stride of 0
        out.fill_(torch.nan)
