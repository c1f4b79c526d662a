"""What else a wrong result says: which operand's surroundings decide about it, and by which other
Numerics than the declared ones it is right.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from gptq_fuzz.case.backend import Numerics
from gptq_fuzz.case.case import Case
from gptq_fuzz.oracle.examination import Examination, TimeIsUp, describe
from gptq_fuzz.oracle.judge import machine_capability
from gptq_fuzz.oracle.panel import columns_of, is_large
from gptq_fuzz.problem.layouts import POISON
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.reference.matmul import dequantize

SECONDS = 5.0
COLUMNS = 64  # that are wrong, by which other Numerics are tried before all are asked
OTHER_POISON = 0x2B  # a small number in every format, and none that POISON gives
# Problems of the same shape that other Numerics have to fit too, before they are named.
PROBLEMS = (("randn", 0), ("randn", 1), ("cancel", 0), ("ties", 0), ("onehot", 0))
FORMATS = ("x", "f16", "bf16")
OF_SUMS = frozenset({"partial", "tf32", "accumulator", "bias_after"})


def hints(
    examine: Callable[[Case], Examination], case: Case, wrong_alone: bool = False
) -> dict[str, str]:
    """`hints`: a sentence for each thing that is certain, joined by "; "; "" where nothing is.

    `wrong_alone`: single weights are wrong, times one 1, so no format of sums is named. What there
    was no time to look for is named.
    """
    said, ends = [], time.monotonic() + SECONDS
    try:
        for what, look in (
            ("what lies behind operands", lambda: _behind(examine(case), ends)),
            ("other Numerics", lambda: _by_other_numerics(examine, case, wrong_alone, ends)),
        ):
            try:
                said += list(look())
            except TimeIsUp:
                said.append(f"{what}: not looked for, time")
    except Exception as problem:  # noqa: BLE001 - a kernel may raise anything
        return {"hints": "", "problem": describe(problem)}
    return {"hints": "; ".join(said)}


def _require_time(ends: float) -> None:
    if time.monotonic() > ends:
        raise TimeIsUp


def _behind(exam: Examination, ends: float) -> list[str]:
    """The operands whose red zones decide about the result."""
    if not exam.zones:
        return []
    operands, found = Operands(exam.case, exam.device, zones=True), []

    def answer() -> torch.Tensor:
        """The bytes of the result."""
        _require_time(ends)
        return exam.call(operands).detach().contiguous().view(torch.uint8).to("cpu", copy=True)

    before = answer()
    if not torch.equal(before, answer()):
        return []
    for name, guarded in operands.guarded.items():
        guarded.surround(OTHER_POISON)
        if not torch.equal(before, answer()):
            found.append(f"depends on what lies behind {'x' if name == 'left' else name}")
        guarded.surround(POISON)
    return found


@dataclass
class Answer:
    """What the kernel gave for a problem, and what the reference needs to judge it."""

    exam: Examination
    operands: Operands
    out: torch.Tensor

    @classmethod
    def of(cls, exam: Examination) -> Answer:
        operands = Operands(exam.case, exam.device, zones=exam.zones)
        return cls(exam, operands, exam.call(operands))

    def is_right(self, numerics: Numerics, columns: torch.Tensor | None = None) -> bool:
        """By other Numerics; `columns`: of these alone, where that is less."""
        if columns is None or self.exam.case.backward or is_large(self.exam.case):
            self.exam.numerics = numerics
            return not self.exam.expectation(self.operands).check(self.out).count
        product = columns_of(self.operands.product, columns)
        capability = machine_capability(self.exam.device)
        expected = self.exam.intervals(product, self.weight[:, columns], numerics, capability)
        return not expected.check(self.out[:, columns.to(self.out.device)]).count

    @functools.cached_property
    def weight(self) -> torch.Tensor:
        """[K, N] of the reference."""
        layer = self.operands.originals()
        layer.pop("bias")
        return dequantize(**layer)


def _by_other_numerics(
    examine: Callable[[Case], Examination], case: Case, wrong_alone: bool, ends: float
) -> Iterator[str]:
    """The first single change of the declared Numerics by which all of some problems are right."""
    asked = (case, *(case.replace(fill=fill, seed=seed) for fill, seed in PROBLEMS))
    answer = functools.cache(lambda other: Answer.of(examine(other)))
    first = answer(case)
    declared = first.exam.numerics
    wrong = first.exam.expectation(first.operands).check(first.out).wrong
    columns = wrong.any(0).nonzero().flatten()[:COLUMNS]
    if not len(columns):
        return  # what failed was another check than that of values

    def all_right(numerics: Numerics, columns: torch.Tensor | None = None) -> bool:
        for problem in asked:
            _require_time(ends)
            if not answer(problem).is_right(numerics, columns):
                return False
        return True

    for change in _changes(declared):
        if wrong_alone and not OF_SUMS.isdisjoint(change):
            continue
        numerics = replace(declared, **change)
        if all_right(numerics, columns) and all_right(numerics):
            ((name, value),) = change.items()
            yield f"would pass with Numerics({name}={value!r})"
            return


def _changes(declared: Numerics) -> Iterator[dict]:
    """Single fields with another value, those that allow the least first."""
    for name in FORMATS:
        if name not in declared.weights:
            yield {"weights": (*declared.weights, name)}
    changes = {"folds_zero": [True], "scaled_zero": [True], "zero": ["float"], "bias_after": [None]}
    changes |= {"partial": FORMATS, "tf32": [True], "accumulator": FORMATS}
    for name, values in changes.items():
        yield from ({name: value} for value in values if value != getattr(declared, name))
