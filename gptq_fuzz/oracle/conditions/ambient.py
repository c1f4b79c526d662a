"""Ambient state: what the program around a kernel has set for all of torch, or this thread.

A result is what it is without: its dtype is that of x, its device that of x, nothing of the state
is changed. New memory is not poisoned here, as that would switch deterministic mode on. Under
autocast to the dtype of x torch's own products have both factors and their result in that dtype, so
that partial sums may be rounded to it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.oracle.conditions.parts import with_x
from gptq_fuzz.oracle.judge import Expected
from gptq_fuzz.oracle.surroundings import differing, global_state, restore_state

OTHER_THREADS = 3  # no power of two: no length of whole words is a multiple of it by chance


@contextlib.contextmanager
def _set(read: Callable, write: Callable, value) -> Iterator[None]:
    """A setting of torch at `value`, and as it was afterwards."""
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


def default_dtype(dtype: torch.dtype) -> Callable:
    """The judge of a case while this is the default dtype."""
    default = torch.get_default_dtype, torch.set_default_dtype
    return lambda exam: _value_under(exam, lambda: _set(*default, dtype))


def default_device_meta(exam) -> Verdict | None:
    """Tensors that are made without a device hold no data."""
    return _value_under(exam, lambda: torch.device("meta"))


def three_threads(exam) -> Verdict | None:
    """Another number of threads of torch than the worker's one."""
    number = torch.get_num_threads, torch.set_num_threads
    return _value_under(exam, lambda: _set(*number, OTHER_THREADS))


def deterministic(exam) -> Verdict | None:
    """An operator that is not deterministic raises."""
    mode = torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode
    return _value_under(exam, lambda: _set(*mode, "error"))


def x_requires_grad(exam) -> Verdict | None:
    """As while an adapter beside the layer is trained."""
    x = exam.operands.left.requires_grad_()
    try:
        return _value_under(exam, contextlib.nullcontext)
    finally:
        x.requires_grad_(False)


def no_grad(exam) -> Verdict | None:
    """As servers call that share tensors with a model in training."""
    return _value_under(exam, torch.no_grad)


def inference_mode(exam) -> Verdict | None:
    """With an x that was made in it, as in an engine: it has no version counter, the layer has.

    After a call outside: scratch memory that a kernel made in it could not be written ever after.
    """
    kept = exam.operands
    exam.call(kept)
    with torch.inference_mode():
        exam.operands = with_x(exam, kept.values.left)
    try:
        return _value_under(exam, torch.inference_mode)
    finally:
        exam.operands = kept


def autocast(exam) -> Verdict | None:
    """To the dtype of x."""
    kind = torch.device(exam.device).type
    declared = exam.numerics, exam.intervals, exam.expected
    weights = (*exam.numerics.weights, "x")
    exam.numerics, exam.intervals = replace(exam.numerics, weights=weights, partial="x"), Cast
    exam.expected = exam.expectation(exam.operands)
    try:
        return _value_under(exam, lambda: torch.autocast(kind, exam.operands.out_dtype))
    finally:
        exam.numerics, exam.intervals, exam.expected = declared


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


def _value_under(exam, context: Callable) -> Verdict | None:
    """The verdict on the case's values, each call within `context`, whose state must stay."""

    @contextlib.contextmanager
    def watched() -> Iterator[None]:
        with context():
            before = global_state()
            yield
            if changed := differing(before, global_state()):
                exam.changed += changed
                restore_state(before)

    usual, exam.ambient = exam.ambient, watched
    try:
        return exam._value()
    finally:
        exam.ambient = usual
