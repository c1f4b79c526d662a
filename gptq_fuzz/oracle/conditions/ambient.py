"""Ambient state: what the program around a kernel has set for all of torch, or this thread.

A result is what it is without: its dtype is that of x, its device that of x, nothing of the state
is changed. New memory is not poisoned here, as that would switch deterministic mode on. Under
autocast to the dtype of x torch's own products have both factors and their result in that dtype, so
that partial sums may be rounded to it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.case import decoy_of
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.oracle.conditions.parts import activation, answer, loaded, with_x, within, wrong
from gptq_fuzz.oracle.judge import Expected
from gptq_fuzz.oracle.relations import RELATIONS
from gptq_fuzz.oracle.settings import OF_PRODUCTS, SETTINGS, anomaly_mode, moved, put
from gptq_fuzz.oracle.surroundings import (
    differing,
    global_state,
    restore_state,
    synchronize,
)
from gptq_fuzz.problem.layouts import Guarded, as_parameter
from gptq_fuzz.problem.operands import Operands

OTHER_THREADS = 3  # no power of two: no length of whole words is a multiple of it by chance
# What is kept for each thread may have as many places as a machine of its author has processors
MORE_THREADS = (8, 65)
MOST_WORK = 2**24  # terms of a problem that is asked with those: they wait for each other

_DEFAULT = torch.get_default_dtype, torch.set_default_dtype
_THREADS = torch.get_num_threads, torch.set_num_threads
_MODE = torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode
# Condition -> the context of a call, by the device's kind and the dtype of x
CONTEXTS: dict[str, Callable] = {
    "defbf16": lambda kind, dtype: put(*_DEFAULT, torch.bfloat16),
    "deff16": lambda kind, dtype: put(*_DEFAULT, torch.float16),  # as servers set it
    "deff64": lambda kind, dtype: put(*_DEFAULT, torch.float64),
    "defmeta": lambda kind, dtype: torch.device("meta"),  # tensors made without a device: no data
    "omp3": lambda kind, dtype: put(*_THREADS, OTHER_THREADS),  # of torch; the worker has one
    "det": lambda kind, dtype: put(*_MODE, "error"),  # operators that are not deterministic raise
    "other": lambda kind, dtype: moved(SETTINGS),  # whatever may be set without changing a result
    "grad": lambda kind, dtype: contextlib.nullcontext(),  # x asks for it, see `x_requires_grad`
    "nograd": lambda kind, dtype: torch.no_grad(),  # as servers call that share a model in training
    "infer": lambda kind, dtype: torch.inference_mode(),
    "autocast": torch.autocast,  # to the dtype of x
}


def in_context(name: str) -> Callable:
    """The judge of a case within a context of CONTEXTS that changes nothing else."""
    return lambda exam: _value_under(exam, lambda: _context(exam, name))


def _context(exam, name: str):
    return CONTEXTS[name](torch.device(exam.device).type, exam.operands.out_dtype)


# What torch sets for one thread: a call in another one has not inherited it
OF_A_THREAD = ("defmeta", "nograd", "infer", "autocast")


@contextlib.contextmanager
def in_its_state(exam) -> Iterator[None]:
    """Whatever is asked of an examination here, in any thread, is asked in its case's state."""
    name = exam.case.state
    usual = exam.ambient, exam.in_a_thread, exam.operands, exam.numerics, exam.intervals
    kept = vars(exam).pop("expected", None)
    if name:
        exam.ambient = _watched(exam, lambda: _context(exam, name))
    if name in OF_A_THREAD:
        exam.in_a_thread = lambda: _context(exam, name)
    if name == "autocast":
        _declare_cast(exam)
    if name in ("grad", "infer"):
        exam.operands = with_x(exam, exam.operands.values.left)
    try:
        yield
    finally:
        exam.ambient, exam.in_a_thread, exam.operands, exam.numerics, exam.intervals = usual
        vars(exam).pop("expected", None)
        vars(exam).update({} if kept is None else {"expected": kept})


@contextlib.contextmanager
def with_grad(left: torch.Tensor) -> Iterator[None]:
    """x asks for its gradient, as while an adapter beside the layer is trained."""
    left.requires_grad_()
    try:
        yield
    finally:
        left.requires_grad_(False)


@contextlib.contextmanager
def as_activation(x: Guarded) -> Iterator[None]:
    """x has come from a parameter that is trained."""
    plain = x.view
    x.view = activation(plain)
    try:
        yield
    finally:
        x.view = plain


def more_threads(exam) -> Verdict | None:
    """The judge of a case where torch has three threads; then ever more, of a layer that was loaded
    with three.
    """
    if found := _value_under(exam, lambda: _context(exam, "omp3")):
        return found
    case = exam.case
    if case.m * case.columns * case.reduction > MOST_WORK:
        return None
    with within(exam, lambda: _context(exam, "omp3")):
        multiply = loaded(exam, exam.operands)
    if found := _new_threads_changed(exam, multiply):
        return found
    for count in MORE_THREADS:
        with within(exam, _watched(exam, lambda count=count: put(*_THREADS, count))):
            out = answer(exam, multiply, exam.operands)
        if found := wrong(exam, exam.expected.check(out), f" with {count} threads"):
            return found
    return None


def _new_threads_changed(exam, multiply: Callable) -> Verdict | None:
    """The verdict on a call after which threads that the program starts have another number of
    threads of torch's: the last that any thread has set.
    """
    with put(*_THREADS, OTHER_THREADS):
        before = _threads_of_a_new_one()
        with exam.surrounded():
            multiply(exam.operands.left)
            synchronize(exam.device)
        after = _threads_of_a_new_one()
        torch.set_num_threads(OTHER_THREADS)
    if before == after:
        return None
    return exam._result(kinds.STATE_LEAKED, "the kernel changed thread count of new threads")


def _threads_of_a_new_one() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def other_settings(exam) -> Verdict | None:
    """The judge of a case under settings off their defaults: whoever sets one of these to its
    default changes nothing else.

    First a call of another layer under those, too, by which a product may have other bits: what
    comes of it is not judged. Last one where anomaly mode looks for NaN, in gradients.
    """
    other = Operands(decoy_of(exam.case), exam.device, zones=exam.zones)
    with within(exam, _watched(exam, lambda: moved((*SETTINGS, *OF_PRODUCTS)))):
        out = exam._output_for(other)
        with exam.surrounded(), contextlib.suppress(Exception):
            exam._answer(other, out.view if out else None)
            synchronize(exam.device)
    if found := exam._leak() or _value_under(exam, lambda: _context(exam, "other")):
        return found
    if exam.case.backward:  # of which torch itself would raise where it is NaN
        return None
    with within(exam, _watched(exam, lambda: anomaly_mode(looks_for_nan=True))):
        return exam._value()


def x_requires_grad(exam) -> Verdict | None:
    """The judge of a case whose x asks for its gradient: as a leaf, then as an activation, of which
    the result is added to in place, as residuals are.
    """
    x = exam.operands.guarded["left"]
    with with_grad(x.view):
        if found := _value_under(exam, contextlib.nullcontext):
            return found
    with as_activation(x):
        if found := _value_under(exam, contextlib.nullcontext):
            return found
        if found := _cannot_be_added_to(exam, lambda out: 1):
            return found
    return _cannot_be_added_to(exam, activation)


def _cannot_be_added_to(exam, addend: Callable) -> Verdict | None:
    """Of a result `addend(out)` is added to in place, where gradients are recorded: one, or what an
    adapter that is trained makes of an x that is not.
    """
    with exam.surrounded():
        out = exam.backend.call(exam.case, exam.operands.left, exam.operands.weights())
    try:
        with torch.enable_grad():
            out.add_(addend(out.detach()))
    except RuntimeError as problem:
        why = str(problem).partition(". ")[0]
        return exam._result(kinds.WRONG_TYPE, f"the result cannot be added to in place: {why}")
    return None


def without_gradients(exam) -> Verdict | None:
    """The judge of a case under no_grad: what comes of an x that requires a gradient requires none,
    and is no tensor of inference mode, whatever thread or mode it was made in.
    """
    if found := _value_under(exam, lambda: _context(exam, "nograd")):
        return found
    if "grad" not in exam.limits.conditions:
        return None
    with with_grad(exam.operands.guarded["left"].view), exam.surrounded(), torch.no_grad():
        out = exam.backend.call(exam.case, exam.operands.left, exam.operands.weights())
    if out.requires_grad or out.is_inference():
        what = "requires a gradient" if out.requires_grad else "is a tensor of inference mode"
        return exam._result(kinds.WRONG_TYPE, f"the result under no_grad {what}")
    return None


def parameters(exam) -> Verdict | None:
    """The judge of a case whose layer is made of parameters of a module that is not trained."""
    layer = {name: each for name, each in exam.operands.guarded.items() if name != "left"}
    plain = {name: each.view for name, each in layer.items()}
    try:
        for each in layer.values():
            each.view = as_parameter(each.view)
        return exam._value()
    finally:
        for name, each in layer.items():
            each.view = plain[name]


def put_under(exam, names: tuple[str, ...]) -> None:
    """From now on each call of an examination takes place within these contexts of CONTEXTS."""
    if names:
        exam.ambient = _watched(exam, lambda: in_contexts(exam, names))
    if "autocast" in names:
        _declare_cast(exam)


@contextlib.contextmanager
def in_contexts(exam, names: tuple[str, ...]) -> Iterator[None]:
    """These contexts of CONTEXTS, the first one outside."""
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(_context(exam, name))
        yield


def inference_mode(exam) -> Verdict | None:
    """With an x that was made in it, as in an engine: it has no version counter, the layer has.

    Before any call outside: scratch memory that is made in it cannot be written ever after.
    """
    kept = exam.operands
    with torch.inference_mode():
        exam.operands = with_x(exam, kept.values.left)
    try:
        return _value_under(exam, torch.inference_mode)
    finally:
        exam.operands = kept


def autocast(exam) -> Verdict | None:
    """The judge of a case under autocast to the dtype of x."""
    declared = exam.numerics, exam.intervals, exam.expected
    _declare_cast(exam)
    exam.expected = exam.expectation(exam.operands)
    try:
        with in_one_region(exam.device):
            return _value_under(exam, lambda: _context(exam, "autocast"))
    finally:
        exam.numerics, exam.intervals, exam.expected = declared


def in_one_region(device: str):
    """Here all calls under autocast are those of one region, as all layers of a model are called
    in: torch keeps its casts of parameters until the outermost region ends, whatever is written.
    """
    return torch.autocast(torch.device(device).type, enabled=False)


def _declare_cast(exam) -> None:
    weights = (*exam.numerics.weights, "x")
    exam.numerics, exam.intervals = replace(exam.numerics, weights=weights, partial="x"), Cast


class Cast(Expected):
    """The intervals of sums that may be rounded to the dtype of x before they are scaled."""

    def _overflows(self, magnitude: torch.Tensor) -> torch.Tensor:
        values, middle = self.product.values, self.product.middle
        q, z = values.codes.double(), values.zeros.double()[values.g_idx]
        terms = torch.maximum(q + z, (q - middle).abs() + (z - middle).abs())
        unscaled = values.left.abs() @ terms
        beyond = unscaled > self.fmt.largest
        usual = super()._overflows(magnitude)
        return beyond if usual is None else beyond | usual


def _watched(exam, context: Callable) -> Callable:
    """`context`, whose state must stay; what changed is noted."""

    @contextlib.contextmanager
    def watched() -> Iterator[None]:
        with context():
            before = global_state()
            try:
                yield
            finally:  # a kernel that raises puts back what it has set, too
                if changed := differing(before, global_state()):
                    exam.changed += changed
                    restore_state(before)

    return watched


def _value_under(exam, context: Callable) -> Verdict | None:
    """The verdict on the case's values, each call within `context`, whose state must stay.

    Then, as kernels keep weights and results in some states alone: with another layer in between,
    and with other weights written into this one.
    """
    reloaded = "reloaded", RELATIONS["reloaded"]
    with within(exam, _watched(exam, context)):
        return exam._value() or exam._decoy() or exam._relation(*reloaded)
