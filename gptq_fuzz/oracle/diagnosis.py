"""A closer look at a wrong result: each weight asked for alone, on the same shape and path.

Rows of x with a single 1 give back the weights that the kernel uses. Those that are wrong say which
substitution explains them (decode.py), and at which rows, k and columns they lie.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from gptq_fuzz.case.case import Case
from gptq_fuzz.oracle.decode import Wrong, explanation, wrong_products
from gptq_fuzz.oracle.examination import Examination, describe
from gptq_fuzz.oracle.locate import places
from gptq_fuzz.problem.fills import Values, make_values
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.problem.philox import random_words

SEEDS = (0, 1, 3, 4, 6, 7, 9, 10)  # 3 n + 2 makes a scale 0, under which everything fits
SECONDS = 8.0
CALLS = 160  # for one seed
WANTED = 64  # wrong weights, after which no other seed is asked
ALONE = "no weight is wrong where x asks for it alone"


def diagnosed(examine: Callable[[Case], Examination], case: Case) -> dict[str, str]:
    """`explained` and `pattern` of a wrong result, either "" where nothing is certain."""
    try:
        return _diagnosis(examine(case))
    except Exception as problem:  # noqa: BLE001 - a kernel may raise anything
        return {"explained": "", "pattern": "", "problem": describe(problem)}


def _diagnosis(exam: Examination) -> dict[str, str]:
    look = _Look(exam)
    for seed in SEEDS:
        if not look.ask(seed) or len(look) >= WANTED:
            break
    if not look.found:
        return {"explained": "", "pattern": ALONE if look.is_whole else ""}
    return {"explained": explanation(Wrong.joined(look.found)), "pattern": look.pattern}


class _Look:
    """What single weights came out as, problem after problem."""

    def __init__(self, exam: Examination):
        self.exam = exam
        self.case: Case = exam.case.replace(bias=False, fill="lanes")
        self.ends = time.monotonic() + SECONDS
        self.problems: list[Values] = []
        self.found: list[Wrong] = []
        self.is_whole = True  # every weight of every problem was asked for
        self.pattern = ""

    def __len__(self) -> int:
        return sum(map(len, self.found))

    def ask(self, seed: int) -> bool:
        """Ask for each weight of another problem; False where there is no time for that.

        In the first problem each row of x asks for each weight, where that is not too much.
        """
        m, length = self.case.m, self.case.reduction
        values = replace(make_values(self.case.replace(seed=seed, fill="randn"), "cpu"), bias=None)
        self.problems.append(values)
        order = random_words(seed, "rows", length, 1, "cpu")[0].flatten().argsort()
        is_one_row = self.case.layout == "bcast"
        is_crossed = is_one_row or (len(self.problems) == 1 and length <= CALLS)
        step, calls = (1, length) if is_crossed else (m, -(-length // max(m, 1)))
        for call in range(calls):
            if call == CALLS or time.monotonic() > self.ends:
                self.is_whole = False
                return False
            left = torch.zeros(m, length, dtype=torch.float64)
            left[torch.arange(m), order[(torch.arange(m) + call * step) % length]] = 1.0
            self._judge(replace(values, left=left[:1].expand(m, -1) if is_one_row else left))
        if len(self.problems) == 1 and self.found:
            self.pattern = self._places(is_crossed)
        return True

    def _judge(self, values: Values) -> None:
        operands = Operands(self.case, self.exam.device, values=values, zones=self.exam.zones)
        mismatch = self.exam.expectation(operands).check(self.exam.call(operands))
        if mismatch.count:
            self.found.append(wrong_products(mismatch, operands, self.problems))

    def _places(self, is_crossed: bool) -> str:
        """Where the wrong weights lie along k and n, and along m where each row asked for all."""
        case = self.case
        rows, ks, ns = (
            sorted({place for found in self.found for place in getattr(found, axis).tolist()})
            for axis in ("row", "k", "n")
        )
        group = case.rows_per_group if case.g_idx in ("seq", "none") else 0
        parts = [places("row", rows, case.m)] if is_crossed else []
        parts.append(places("k", ks, case.k, case.pack_factor, group))
        parts.append(places("column", ns, case.n, case.pack_factor))
        return "; ".join(parts)
