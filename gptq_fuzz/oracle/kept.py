"""Whether a kernel keeps more memory with every call: of one layer, with x at ever new addresses,
of ever new layers, of one that is written in between, in other modes of torch and for gradients,
with ever other numbers of rows, by ever new threads or by one that goes on, of what is refused, and
of what is broken off.

What is bounded is no leak, however it grows at first. So what one call leaves, as looks after
single calls show, must be left by every second one, since a cache that meets something new only now
and then fills for long; and this must go on through all of ROUNDS. Nor is a leak what a thread
frees a little later.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import itertools
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from gptq_fuzz.oracle.conditions.parts import activation, loaded
from gptq_fuzz.oracle.conditions.threads import in_threads, one_thread
from gptq_fuzz.oracle.each_operator import RaisesAt, operators_of
from gptq_fuzz.oracle.surroundings import synchronize
from gptq_fuzz.problem.bad import invalidate
from gptq_fuzz.problem.layouts import leading_shape
from gptq_fuzz.problem.operands import Operands

FIRST = 32  # calls
LOOKS = 16  # after each of as many calls, which follow these
# Calls of a part. A round has three: what a cache of that many still takes in, and two to compare.
ROUNDS = (256, 2048)
EARLY = 64  # of a round before them, for what seems to grow: an interpreter's objects come and go
CALLS = FIRST + LOOKS + 3 * (EARLY + sum(ROUNDS))
# Rows of x of the last of such calls, each with a row less than the one before: a workspace for the
# most rows is there from the first call on, and so are those for whole classes of numbers of rows.
# What is kept for each number of few rows alone is bounded.
FEWEST_ROWS = 1024
FEWER_ROUNDS = (64, 256)  # of threads
ROUNDS_OF_ROWS = (288, 96)  # the latter begins after 1,104 calls: oneDNN keeps 1,024 products
FURTHER = 8  # columns of what a strided x is a part of
APART = 512  # bytes between two x of one buffer: as each begins that torch makes, on a GPU too
PAUSE = 0.1  # seconds after which a thread that frees what calls left to it has freed some more
PAUSES = 20  # at most
MODEL = 40  # layers that stay, called in turn: more than a few buffers hold
PARTS = 2  # of a call, which is broken off at the end of each
ORDERS = 13  # pairs of rows that change places or do not: more orders than all calls have
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
    return {BYTES: allocated(device), OBJECTS: sys.getallocatedblocks()}


def allocated(device: str) -> int:
    """Bytes of the device that are allocated now, in cycles of references too."""
    synchronize(device)
    if device.startswith("cuda"):
        return torch.cuda.memory_allocated(device)
    info = _mallinfo2()()
    return info.uordblks + info.hblkhd


@dataclass(frozen=True)
class Asked:
    """`call(number)` is called for the numbers from 0 on, in rounds of so many.

    `least` is what a call must leave to count, of bytes or objects; None: any block and object.
    `shrinks_to` is the share of the first calls' size that the last ones have. Where a library
    keeps a thousand of something large, what a call leaves is looked at `again` before the last
    round: less may be the kernel's own.
    """

    call: Callable[[int], object]
    rounds: tuple[int, ...] = ROUNDS
    least: dict[str, float] | None = None
    shrinks_to: float = 1.0
    again: bool = False

    @property
    def calls(self) -> int:
        """All of them."""
        return FIRST + LOOKS * (1 + self.again) + 3 * (EARLY + sum(self.rounds))


def kept(asked: Asked, device: str, seconds: float) -> str | None:
    """What more is kept with each call; None if nothing is.

    Where time ends before all calls, nothing is said: a cache may still be filling.
    """
    ends, numbers = time.monotonic() + seconds, itertools.count()

    def ask(calls: int) -> None:
        for number in itertools.islice(numbers, calls):
            if time.monotonic() > ends:
                raise NoTimeLeft
            asked.call(number)

    gc.freeze()  # only what is made from now on need be looked at
    try:
        ask(FIRST)
        least = asked.least or {BYTES: LEAST[torch.device(device).type], OBJECTS: 1}
        left = _left_by_one(ask, device, least)
        if not left:
            return None
        for turn, calls in enumerate((EARLY, *asked.rounds)):
            if asked.again and turn == len(asked.rounds):
                left = _left_by_one(ask, device, least)
            shrunk = {what: by_one * asked.shrinks_to for what, by_one in left.items()}
            expected = shrunk if turn else {what: least[what] for what in left}
            states = []
            for _ in range(3):
                ask(calls)
                states.append(in_use(device))
            if not _grown(states, calls, expected):
                return None
        states[-1] = _settled(states[-1], device)
        return _grown(states, calls, expected)
    except NoTimeLeft:
        return None
    finally:
        gc.unfreeze()


class NoTimeLeft(Exception):
    """Before all was asked."""


def _left_by_one(ask: Callable[[int], None], device: str, least: dict) -> dict[str, float]:
    """What more is in use after one call, the median of LOOKS, as far as it is no `least`."""
    more, before = {what: [] for what in least}, in_use(device)
    for _ in range(LOOKS):
        ask(1)
        after = in_use(device)
        for what, found in more.items():
            found.append(after[what] - before[what])
        before = after
    medians = {what: statistics.median(found) for what, found in more.items()}
    return {what: by_one for what, by_one in medians.items() if by_one >= least[what]}


def _settled(state: dict[str, int], device: str) -> dict[str, int]:
    """What is in use once nothing more of it is freed."""
    for _ in range(PAUSES):
        time.sleep(PAUSE)
        before, state = state, in_use(device)
        if all(state[what] >= before[what] for what in state):
            break
    return state


def _grown(states: list[dict[str, int]], calls: int, left: dict[str, float]) -> str | None:
    """What grew by what is `left` by one call for every second call of both later parts.

    Not for each: a leak of one block a call shows although something else is freed meanwhile.
    """
    for what, by_one in left.items():
        first, second, third = (state[what] for state in states)
        if min(second - first, third - second) >= by_one * calls / 2:
            return f"{(third - first) / (2 * calls):.0f} {what}"
    return None


@contextlib.contextmanager
def warnings_unseen() -> Iterator[None]:
    """Python's own filter, under which a module notes each text of a warning; none is shown. No
    call changes it, since these notes are dropped then.
    """
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.simplefilter("default")
        warnings.showwarning = lambda *_args, **_more: None
        yield


def _pairs_of_rows(exam) -> list[torch.Tensor]:
    """ORDERS pairs of rows that may change places, each of two groups; none where there are less,
    or the rows have an order of another kind.
    """
    case, g_idx = exam.case, exam.operands.weights()["g_idx"]
    if case.g_idx != "act" or case.backward or case.k < 2 * ORDERS:
        return []
    by_group, half = g_idx.argsort(), case.k // 2
    pairs = torch.stack((by_group[:ORDERS], by_group[half : half + ORDERS]), 1)
    return list(pairs) if (g_idx[pairs[:, 0]] != g_idx[pairs[:, 1]]).all() else []


def _modes_of(exam) -> dict[str, contextlib.AbstractContextManager]:
    """Those of torch that calls may be in, of what the kernel promises, by condition."""
    kind, case = torch.device(exam.device).type, exam.case
    if case.backward:
        return {}
    every = {
        "grad": contextlib.nullcontext(),
        "nograd": torch.no_grad(),
        "infer": torch.inference_mode(),
    }
    if case.dtype != "f32":
        every["autocast"] = torch.autocast(kind, exam.operands.out_dtype)
    return {name: mode for name, mode in every.items() if name in exam.limits.conditions}


def _gradient_of(exam) -> Callable[[int], None] | None:
    """A call for the gradient with respect to x; None of a kernel that promises none."""
    plain = {"bias": False, "out": False, "state": "", "condition": ""}
    case = exam.case.replace(backward=True, **plain)
    if exam.case.backward or not exam.backend.gradient or exam.limits.violations(case):
        return None
    operands = Operands(case, exam.device, zones=exam.zones)
    weights = operands.weights()

    def call(number: int) -> None:
        grad = operands.left.clone(memory_format=torch.contiguous_format)
        grad.view(-1)[:1] = number % 512
        exam.backend.call(case, grad, weights)

    return call


def calls_of(exam) -> dict[str, Asked]:
    """What is called again and again: one layer with x at ever other addresses, with ever new x, a
    strided one too, with one that is written before each call, ever new layers, such in ever other
    orders, such that share an operand, such that are called with no rows, many in turn, one layer
    that is written before each call, and one that is moved, one and a new one in each mode of torch
    that the kernel promises, for a gradient too, one with ever other numbers of rows and one by
    ever new threads, where as much as x or the result counts, new ones by a thread that goes on, a
    call with each operand that the kernel promises to refuse, and calls in which an operator of
    torch raises.
    """
    operands = exam.operands

    prepared = loaded(exam, operands)

    def answer(left, weights=None) -> None:
        """Of the layer that is loaded, or of these weights."""
        if weights is None:
            prepared(left)
        else:
            exam.backend.call(exam.case, left, weights)

    def own_layer() -> dict:
        return {
            name: value.contiguous().clone() if isinstance(value, torch.Tensor) else value
            for name, value in operands.weights().items()
        }

    def same_layer(number: int) -> None:
        left = operands.left.clone(memory_format=torch.contiguous_format)
        left.view(-1)[:1] = number % 512
        answer(left)

    wide = operands.left.new_zeros(*operands.left.shape[:-1], exam.case.reduction + FURTHER)
    wide[..., : exam.case.reduction] = operands.left

    def strided_x(number: int) -> None:
        """A part of each row of a wider tensor, as of what several layers have made together."""
        left = wide.clone()[..., : exam.case.reduction]
        left[..., :1] = number % 512
        answer(left)

    pitches: list[torch.Tensor] = []  # once it is asked for: rows further and further apart

    def other_strides(number: int) -> None:
        """Rows of x further apart each time, as the last ones of ever longer prompts are."""
        m, k = exam.case.m, exam.case.reduction
        if not pitches:
            pitches.append(operands.left.new_zeros(m * (k + CALLS + 1)))
        left = pitches[0].as_strided((m, k), (k + number + 1, 1))
        left.copy_(operands.left)
        answer(left)

    all_places: list[torch.Tensor] = []  # once it is asked for: the buffer that each x is part of

    def elsewhere(number: int) -> None:
        """x a little further on in a buffer that stays, as a decoding loop hands on its rows."""
        x = operands.left
        apart = APART // x.element_size()
        if not all_places:
            all_places.append(x.new_zeros(CALLS * apart + x.numel()))
        first = number * apart
        left = all_places[0][first : first + x.numel()].view(x.shape)
        left.copy_(x)
        answer(left)

    def new_layer(number: int) -> None:
        weights = own_layer()
        weights["qweight"].view(-1)[:1] = number
        answer(operands.left, weights)

    pairs = _pairs_of_rows(exam)

    def layer_in_another_order(number: int) -> None:
        """As each checkpoint of a model has an order of its own."""
        weights = own_layer()
        for at, pair in enumerate(pairs):
            if number >> at & 1:
                weights["g_idx"][pair] = weights["g_idx"][pair.flip(0)]
        answer(operands.left, weights)

    def updated_layer(number: int) -> None:
        """A new layer, written between two calls, as a checkpoint or an adapter is put into one."""
        weights = own_layer()
        answer(operands.left, weights)
        for name in of_it:
            weights[name].view(-1)[:1] += 0
        answer(operands.left, weights)

    buffer = operands.left.clone(memory_format=torch.contiguous_format)

    def written_x(number: int) -> None:
        """One x, into which the next numbers are written, as the buffer of a decoding loop."""
        buffer.view(-1)[:1] = number % 512
        answer(buffer)

    first = own_layer()
    of_it = [name for name, value in first.items() if isinstance(value, torch.Tensor)]

    def sharing_layers(number: int) -> None:
        """Each has one operand of a layer that stays, as all of an engine have one `g_idx`."""
        for name in of_it:
            answer(operands.left, own_layer() | {name: first[name]})

    written = own_layer()

    def written_layer(number: int) -> None:
        written["qweight"].view(-1)[:1] = number
        written["scales"].view(-1)[:1].neg_()
        answer(operands.left, written)

    model: list[dict] = []  # once it is asked for

    def layers_in_turn(number: int) -> None:
        """Pass after pass over the layers of a model, which all stay."""
        if not model:
            model.extend(own_layer() for _ in range(MODEL))
        answer(operands.left, model[number % MODEL])

    def layer_without_rows(number: int) -> None:
        """A new layer of which no row is asked, as of an expert that gets no token."""
        answer(operands.left[:0], own_layer())

    moving = own_layer()

    def moved_layer(number: int) -> None:
        """The same tensors elsewhere each time, as where a layer is taken off the GPU and back."""
        for name in of_it:
            moving[name].data = moving[name].data.clone()
        answer(operands.left, moving)

    whole = own_layer()

    def sliced_layer(number: int) -> None:
        """The parts of tensors that hold all layers, or all experts, as they are sliced anew."""
        views = {
            name: value[:] if isinstance(value, torch.Tensor) else value
            for name, value in whole.items()
        }
        answer(operands.left, views)

    def under(name: str, mode: contextlib.AbstractContextManager) -> Callable[[int], None]:
        def call(number: int) -> None:
            layer = own_layer()
            layer["qweight"].view(-1)[:1] = number
            with mode:
                left = operands.left.clone(memory_format=torch.contiguous_format)
                left.view(-1)[:1] = number % 512
                left = activation(left) if name == "grad" else left
                answer(left)
                answer(left, layer)

        return call

    def refused_calls(number: int) -> None:
        for name in exam.limits.bad:
            case = exam.case.replace(bad=name, state="", condition="")
            with contextlib.suppress(Exception):  # a kernel may raise anything
                answer(*invalidate(case, operands.left, own_layer()))

    operators = operators_of(lambda: answer(operands.left))
    broken = sorted({max(1, operators * part // PARTS) for part in range(1, PARTS + 1)})

    def broken_calls(number: int) -> None:
        for at in broken:
            with contextlib.suppress(Exception), RaisesAt(at):
                answer(operands.left)

    def other_rows(number: int) -> None:
        answer(many_rows(FEWEST_ROWS + rounds_of_rows.calls - number))

    def many_rows(rows: int) -> torch.Tensor:
        row = operands.left.reshape(-1, exam.case.reduction)[:1]
        shape = *leading_shape(rows, exam.case.rank), exam.case.reduction
        return row.repeat(rows, 1).view(shape)

    def new_thread(number: int) -> None:
        in_threads(exam.device, lambda _: answer(many_rows(FEWEST_ROWS)), 1)

    server = one_thread(exam.device)  # which begins once it is asked

    def layer_of_a_thread(number: int) -> None:
        """A new layer that a thread of a server calls, and this one drops."""
        handed = [own_layer()]  # the server may still hold this list
        server.submit(lambda: answer(operands.left, handed[0])).result()
        handed.clear()

    row_bytes = operands.left.element_size() * min(exam.case.reduction, exam.case.columns)
    least = {BYTES: FEWEST_ROWS * row_bytes}
    rounds_of_rows = Asked(other_rows, ROUNDS_OF_ROWS, least, again=True)
    shrinks_to = FEWEST_ROWS / (FEWEST_ROWS + rounds_of_rows.calls)
    rounds_of_rows = replace(rounds_of_rows, shrinks_to=shrinks_to)
    asked = {  # the first before x has lain at many places by chance
        "every x at another address": Asked(elsewhere),
        "every call of one layer": Asked(same_layer),
        "every write into x": Asked(written_x),
        "every new layer": Asked(new_layer),
        "every new layer that is written between calls": Asked(updated_layer),
        "every round of new layers that share an operand": Asked(sharing_layers),
        "every call of one of many layers": Asked(layers_in_turn),
        "every write into a layer": Asked(written_layer),
        "every move of a layer": Asked(moved_layer),
        "every view of a layer": Asked(sliced_layer),
    }
    if pairs:
        asked["every new layer in another order"] = Asked(layer_in_another_order)
    if "pad" in exam.limits.layouts and exam.case.m > 1 and not exam.case.backward:
        asked["every call with a strided x"] = Asked(strided_x)
        if exam.case.rank == 2:
            asked["every call with other strides of x"] = Asked(other_strides)
    for name, mode in _modes_of(exam).items():
        asked[f"every call of one layer and a new one under {name}"] = Asked(under(name, mode))
    if gradient := _gradient_of(exam):
        asked["every gradient of one layer"] = Asked(gradient)
    if exam.case.m > 1:
        asked["every new number of rows"] = rounds_of_rows
    if exam.case.m > 1 and "threads2" in exam.limits.conditions:
        asked["every new thread"] = Asked(new_thread, FEWER_ROUNDS, least)
    if "threads2" in exam.limits.conditions and not exam.case.backward:
        asked["every new layer that another thread calls"] = Asked(layer_of_a_thread)
    if exam.case.m > 1 and not exam.limits.m_least and not exam.case.backward:
        asked["every new layer that is called with no rows"] = Asked(layer_without_rows)
    if exam.limits.bad and not exam.case.backward:
        asked["every round of refused calls"] = Asked(refused_calls)
    if operators and not exam.case.backward:
        asked["every round of calls that are broken off"] = Asked(broken_calls)
    return asked
