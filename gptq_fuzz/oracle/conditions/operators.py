"""A kernel that is a registered operator: what torch asks of those, and compilation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import library

from gptq_fuzz.case.case import decoy_of
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.oracle.conditions.parts import answer, with_another_x, with_x, within, wrong
from gptq_fuzz.oracle.relations import rewritten
from gptq_fuzz.problem.operands import Operands

# More rows than the case has: the first is traced anew, for any number; the second is not
MORE_ROWS = (2, 5)


def checked_operator(exam) -> Verdict | None:
    """torch's `opcheck` on the case with fill `exact`: it compares results, NaN differs.

    It takes x without rows as it is allocated: of some strides it makes a size below zero itself.
    """
    layout = exam.case.layout if exam.case.m else ""
    case = exam.case.replace(fill="exact", layout=layout)
    operands = Operands(case, exam.device, zones=exam.zones)
    operator, arguments = exam.backend.operator(x=operands.left, **operands.weights())
    with exam.surrounded(poisoned=False):
        library.opcheck(operator, arguments)
    return None


def compiled(exam) -> Verdict | None:
    """One function traced by torch.compile, called as an engine does: in inference mode first,
    then outside, of one layer, then of another of its shapes, with other numbers of rows; at last
    of the first, after other weights were written into it.

    What is traced is not compiled any further.
    """
    torch.compiler.reset()  # of so many versions of one function it would give up
    multiply = torch.compile(_multiply(exam), backend="aot_eager")
    for what, mode, operands in _asked(exam):
        layer = _loaded(exam, operands)
        with within(exam, mode):
            out = answer(exam, lambda x, layer=layer: multiply(layer, x), operands)
        if found := wrong(exam, exam.expectation(operands).check(out), f" {what}"):
            return found
    if exam.backend.run is not None:  # and what was prepared need not follow
        return None
    own, other = exam.operands, Operands(decoy_of(exam.case), exam.device, zones=exam.zones)
    layer = _loaded(exam, own)
    with rewritten(exam, other) as expected:
        out = answer(exam, lambda x: multiply(layer, x), own)
    return wrong(exam, expected.check(out), " after a write into the layer")


def _multiply(exam) -> Callable:
    """`f(layer, x)`, which is compiled once for all layers."""
    backend, options = exam.backend, dict(exam.case.extra)
    if backend.run is None:
        return lambda weights, x: backend.matmul(x=x, **weights, **options)
    return lambda state, x: backend.run(state, x=x, **options)


def _loaded(exam, operands: Operands):
    """What the kernel has of a layer."""
    weights = operands.weights()
    if exam.backend.run is None:
        return weights
    with exam.surrounded():
        return exam.backend.prepare(**weights)


def _asked(exam) -> Iterator[tuple[str, Callable, Operands]]:
    usual, own = contextlib.nullcontext, exam.operands
    if not exam.case.state and "infer" in exam.limits.conditions:
        with torch.inference_mode():
            x = with_x(exam, own.values.left)
        yield "in inference mode", torch.inference_mode, x
    yield "", usual, own
    yield "of another x", usual, with_another_x(exam)
    other = Operands(decoy_of(exam.case), exam.device, zones=exam.zones)
    other_x = with_x(exam, other.values.left, other)
    yield "of another layer", usual, other_x
    if exam.case.rank == 1:
        return
    first, second = (exam.case.m + more for more in MORE_ROWS)
    for m, layer in ((first, other), (second, own)):
        yield f"of {m} rows", usual, with_another_x(exam, layer, m=m)
