"""What else a wrong result says: which operand's surroundings decide about it, and by which other
Numerics than the declared ones it is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from gptq_fuzz.case.backend import Numerics
from gptq_fuzz.case.case import Case
from gptq_fuzz.oracle.examination import Examination, describe
from gptq_fuzz.problem.operands import Operands

OTHER_POISON = 0x2B  # a small number in every format, and none that POISON gives
# Problems of the same shape that other Numerics have to fit too, before they are named.
PROBLEMS = (("randn", 0), ("randn", 1), ("cancel", 0), ("ties", 0), ("onehot", 0))
FORMATS = ("x", "f16", "bf16")
OF_SUMS = frozenset({"partial", "tf32", "accumulator", "bias_after"})


def hints(
    examine: Callable[[Case], Examination], case: Case, wrong_alone: bool = False
) -> dict[str, str]:
    """`hints`: a sentence for each thing that is certain, joined by "; "; "" where nothing is.

    `wrong_alone`: single weights are wrong, times one 1, so no format of sums is named.
    """
    try:
        said = [*_behind(examine(case)), *_by_other_numerics(examine, case, wrong_alone)]
    except Exception as problem:  # noqa: BLE001 - a kernel may raise anything
        return {"hints": "", "problem": describe(problem)}
    return {"hints": "; ".join(said)}


def _behind(exam: Examination) -> Iterator[str]:
    """The operands whose red zones decide about the result."""
    if not exam.zones or not torch.equal(before := _answer(exam), _answer(exam)):
        return
    for name in Operands(exam.case, exam.device, zones=True).guarded:
        if not torch.equal(before, _answer(exam, name)):
            yield f"depends on what lies behind {'x' if name == 'left' else name}"


def _answer(exam: Examination, name: str = "") -> torch.Tensor:
    """The bytes of the result; `name` is the operand that lies among other poison."""
    operands = Operands(exam.case, exam.device, zones=True)
    if name:
        operands.guarded[name].surround(OTHER_POISON)
    return exam.call(operands).detach().contiguous().view(torch.uint8).to("cpu", copy=True)


def _by_other_numerics(
    examine: Callable[[Case], Examination], case: Case, wrong_alone: bool
) -> Iterator[str]:
    """The first single change of the declared Numerics by which all of some problems are right."""
    answers = []
    for other in (case, *(case.replace(fill=fill, seed=seed) for fill, seed in PROBLEMS)):
        exam = examine(other)
        operands = Operands(other, exam.device, zones=exam.zones)
        answers.append((exam, operands, exam.call(operands)))
    declared = answers[0][0].numerics
    if _all_right(answers[:1], declared):
        return  # what failed was another check than that of values
    for change in _changes(declared):
        if wrong_alone and not OF_SUMS.isdisjoint(change):
            continue
        if _all_right(answers, replace(declared, **change)):
            ((name, value),) = change.items()
            yield f"would pass with Numerics({name}={value!r})"
            return


def _all_right(answers, numerics: Numerics) -> bool:
    for exam, operands, out in answers:
        exam.numerics = numerics
        if exam.expectation(operands).check(out).count:
            return False
    return True


def _changes(declared: Numerics) -> Iterator[dict]:
    """Single fields with another value, those that allow the least first."""
    for name in FORMATS:
        if name not in declared.weights:
            yield {"weights": (*declared.weights, name)}
    changes = {"folds_zero": [True], "scaled_zero": [True], "zero": ["float"], "bias_after": [None]}
    changes |= {"partial": FORMATS, "tf32": [True], "accumulator": FORMATS}
    for name, values in changes.items():
        yield from ({name: value} for value in values if value != getattr(declared, name))
