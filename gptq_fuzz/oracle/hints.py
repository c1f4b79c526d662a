"""What else a wrong result says: which operand's surroundings decide about it, by which other
Numerics than the declared ones, or with which other bias, it is right.
"""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from gptq_fuzz.case.backend import Numerics
from gptq_fuzz.case.case import Case
from gptq_fuzz.oracle.examination import Examination, TimeIsUp
from gptq_fuzz.oracle.judge import machine_capability
from gptq_fuzz.oracle.messages import describe
from gptq_fuzz.oracle.panel import columns_of, is_large
from gptq_fuzz.problem.layouts import POISON
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.reference.matmul import dequantize

SECONDS = 5.0
COLUMNS = 64  # that are wrong, by which other Numerics are tried before all are asked
OTHER_POISON = 0x2B  # a small number in every format, and none that POISON gives
# Problems of the same shape that other Numerics have to fit too, before they are named.
PROBLEMS = (("randn", 0), ("randn", 1), ("cancel", 0), ("ties", 0), ("onehot", 0))
BIASES: dict[str, Callable[[torch.Tensor], torch.Tensor | None]] = {
    "the bias is left out": lambda bias: None,
    "the bias is added twice": lambda bias: 2 * bias,
    "the bias is subtracted": lambda bias: -bias,
    "the bias of the column before is added": lambda bias: bias.roll(1),
    "the bias of the column after is added": lambda bias: bias.roll(-1),
    "the bias of column 0 is added": lambda bias: bias[:1].expand_as(bias),
}
SEEDS_OF_BIASES = (0, 1)
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
    answer = functools.cache(lambda other: Answer.of(examine(other)))
    looks = {
        "what lies behind operands": lambda: _behind(examine(case), ends),
        "other Numerics": lambda: _by_other_numerics(answer, case, wrong_alone, ends),
    }
    if case.bias and not case.backward and not wrong_alone:
        looks["another bias"] = lambda: _by_another_bias(answer, case, ends)
    try:
        for what, look in looks.items():
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
            declared, self.exam.numerics = self.exam.numerics, numerics
            is_right = not self.exam.expectation(self.operands).check(self.out).count
            self.exam.numerics = declared
            return is_right
        product = columns_of(self.operands.product, columns)
        capability = machine_capability(self.exam.device)
        expected = self.exam.intervals(product, self.weight[:, columns], numerics, capability)
        return not expected.check(self.out[:, columns.to(self.out.device)]).count

    def is_right_with(self, bias: torch.Tensor | None) -> bool:
        """By another bias than the one that was handed in."""
        other = copy.copy(self.operands)
        other.values = replace(other.values, bias=bias)
        return not self.exam.expectation(other).check(self.out).count

    @functools.cached_property
    def weight(self) -> torch.Tensor:
        """[K, N] of the reference."""
        layer = self.operands.originals()
        layer.pop("bias")
        return dequantize(**layer)


def _by_other_numerics(
    answer: Callable[[Case], Answer], case: Case, wrong_alone: bool, ends: float
) -> Iterator[str]:
    """The first single change of the declared Numerics by which all of some problems are right."""
    asked = (case, *(case.replace(fill=fill, seed=seed) for fill, seed in PROBLEMS))
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


def _by_another_bias(answer: Callable[[Case], Answer], case: Case, ends: float) -> Iterator[str]:
    """What was added in the bias's place, in all of some problems where no sum is rounded."""
    first = answer(case)
    if first.is_right_with(first.operands.values.bias):
        return
    asked = (case, *(case.replace(fill="exact", seed=seed) for seed in SEEDS_OF_BIASES))
    for words, used in BIASES.items():
        for problem in asked:
            _require_time(ends)
            if not answer(problem).is_right_with(used(answer(problem).operands.values.bias)):
                break
        else:
            yield words
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
