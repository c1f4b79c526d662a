"""What conditions share: a layer that is prepared once, another x for it, a verdict on a result."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.oracle.surroundings import synchronize
from gptq_fuzz.problem.fills import make_values
from gptq_fuzz.problem.operands import Operands, judged_on


def loaded(exam, operands: Operands) -> Callable:
    """`f(x)`: x [..., K] times the layer of `operands`, as the kernel gives it."""
    backend, case, weights = exam.backend, operands.case, operands.weights()
    if backend.run is None or case.backward:
        return lambda x: backend.call(case, x, weights)
    options = dict(case.extra)
    with exam.surrounded():
        state = backend.prepare(**weights)
    return lambda x: backend.run(state, x=x, **options)


def answer(exam, multiply: Callable, operands: Operands) -> torch.Tensor:
    """One call of a loaded layer, surrounded as any other: [M, N]. Raises WrongType."""
    with exam.surrounded():
        out = multiply(operands.left)
        synchronize(exam.device)
    return exam.rows_of(out, operands)


def with_another_x(exam, layer: Operands | None = None, **changes) -> Operands:
    """The very layer of an examination, or of these operands, and an x of another seed."""
    case = exam.case.replace(**changes)
    drawn = make_values(case.replace(seed=case.seed + 1), judged_on(case, exam.device))
    return with_x(exam, drawn.left, layer, **changes)


def with_x(exam, left: torch.Tensor, layer: Operands | None = None, **changes) -> Operands:
    """The very layer of an examination, or of these operands, and x of these values, made as the
    state of the case asks for: in inference mode, or with a gradient to come.
    """
    case, layer = exam.case.replace(**changes), layer or exam.operands
    values = replace(layer.values, left=left)
    shared = {name: kept for name, kept in layer.guarded.items() if name != "left"}
    with torch.inference_mode() if case.state == "infer" else contextlib.nullcontext():
        made = Operands(case, exam.device, values=values, zones=exam.zones, shared=shared)
    if case.state == "grad":
        made.guarded["left"].view = activation(made.left)
    return made


class _Activation(torch.autograd.Function):
    """x as the result of an operator: no leaf, no view, and where it was."""

    @staticmethod
    def forward(ctx, parameter, left):
        return left.detach()

    @staticmethod
    def backward(ctx, grad):
        return None, None


def activation(x: torch.Tensor) -> torch.Tensor:
    """x, as it has come from a parameter that is trained."""
    with torch.enable_grad():
        return _Activation.apply(torch.empty(0, requires_grad=True), x)


def inside(outer: Callable, inner: Callable) -> Callable:
    """What makes the context `inner()` within `outer()`."""
    if outer is contextlib.nullcontext:
        return inner

    @contextlib.contextmanager
    def both() -> Iterator[None]:
        with outer(), inner():
            yield

    return both


@contextlib.contextmanager
def within(exam, context: Callable) -> Iterator[None]:
    """Here each call takes place within `context()` too."""
    usual, exam.ambient = exam.ambient, inside(exam.ambient, context)
    try:
        yield
    finally:
        exam.ambient = usual


def wrong(exam, mismatch, extra: str = "", kind: str = kinds.WRONG) -> Verdict | None:
    """The verdict on a result; None for one that is right."""
    if not mismatch.count:
        return None
    where = exam._where(mismatch.wrong) if len(mismatch.wrong) == exam.case.m else ""
    return exam._result(kind, mismatch.describe(extra), where, ratio=mismatch.worst_ratio())


def same_bits(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Equal, with any NaN equal to any other."""
    return bool(((first == second) | (torch.isnan(first) & torch.isnan(second))).all())
