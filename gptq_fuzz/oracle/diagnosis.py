"""A closer look at a wrong result: each weight asked for alone, on the same shape and path.

Rows of x with a single 1 give back the weights that the kernel uses. Those that are wrong say which
substitution explains them (decode.py), and at which rows, k and columns they lie. Each row of x
asks for the weights in another order, so that a row taken for another shows. Of a long sum some
weights are asked for, most at the borders of groups.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from gptq_fuzz.case.axes import FILLS_OF, FRACTIONS, SHARED
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.checks import RIGHT_ALONE
from gptq_fuzz.oracle.decode import Wrong, explanation, wrong_products
from gptq_fuzz.oracle.examination import Examination
from gptq_fuzz.oracle.judge import Expected, machine_capability
from gptq_fuzz.oracle.locate import places
from gptq_fuzz.oracle.messages import describe
from gptq_fuzz.oracle.panel import ExpectedPanel, is_large
from gptq_fuzz.problem.fills import Values, make_values
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.problem.philox import random_words
from gptq_fuzz.reference.matmul import dequantize

SEEDS = (0, 1, 3, 4, 6, 7, 9, 10)  # 3 n + 2 makes a scale 0, under which everything fits
SECONDS, SECONDS_OF_A_LARGE_ONE = 8.0, 4.0
LARGE = 2**20  # weights
CALLS = 160  # for one seed
AT_BORDERS = CALLS * 3 // 4  # of the weights of a long sum
ORDERS = 509  # in which rows of x ask
TURNS = 8  # of asking for few weights, where rows of x must ask for the same ones
WANTED = 64  # wrong weights, after which no other seed is asked


def diagnosed(
    examine: Callable[[Case], Examination], case: Case, check: str = "value"
) -> dict[str, str]:
    """`explained` and `pattern` of a wrong result, either "" where nothing is certain.

    `case` is what the failed check asked; with "rows permuted" its rows of K are turned round.
    """
    try:
        return _diagnosis(examine(case), check == "rows permuted")
    except Exception as problem:  # noqa: BLE001 - a kernel may raise anything
        return {"explained": "", "pattern": "", "problem": describe(problem)}


def _diagnosis(exam: Examination, is_flipped: bool) -> dict[str, str]:
    look = Look(exam, is_flipped)
    for seed in SEEDS:
        if not look.ask(seed) or len(look) >= WANTED:
            break
    if not look.found:
        return {"explained": "", "pattern": RIGHT_ALONE + look.share if look.asked else ""}
    return {"explained": explanation(Wrong.joined(look.found)), "pattern": look.pattern}


class Look:
    """What single weights came out as, problem after problem."""

    def __init__(self, exam: Examination, is_flipped: bool):
        self.exam = exam
        zeros = "zall" if exam.case.zeros == FRACTIONS else exam.case.zeros
        layout = "" if exam.case.layout_kind in FILLS_OF else exam.case.layout
        self.case: Case = exam.case.replace(fill="lanes", zeros=zeros, layout=layout)
        self.is_flipped = is_flipped
        is_long = self.case.k * self.case.n > LARGE
        self.ends = time.monotonic() + (SECONDS_OF_A_LARGE_ONE if is_long else SECONDS)
        self.problems: list[Values] = []
        self.found: list[Wrong] = []
        self.asked: set[int] = set()  # places along the sum, in the first problem
        self.pattern = ""
        self._layer: Operands | None = None  # of the last problem
        self._weight: torch.Tensor | None = None  # the same as the reference has it, [K, N]

    def __len__(self) -> int:
        return sum(map(len, self.found))

    def ask(self, seed: int) -> bool:
        """Ask for the weights of another problem; False where there is no time for all of that.

        In the first problem each row of x asks for each weight, where that is not too much.
        """
        m, length = max(self.case.m, 1), self.case.reduction
        values = self._values(seed)
        self.problems.append(values)
        self._layer = self._weight = None
        is_first = len(self.problems) == 1
        is_one_row = self.case.layout in SHARED
        places = torch.arange(length)
        if -(-length // (1 if is_one_row else m)) > CALLS:
            places = _sample(values.g_idx, length, self.case.backward)
        is_crossed = is_one_row or (is_first and len(places) <= CALLS)
        is_short = is_crossed and not is_one_row and m > len(places)
        turns = max(min(TURNS, CALLS // len(places)), 1) if is_short else 1
        calls = turns * len(places) if is_crossed else -(-len(places) // m)
        asks = _orders(seed, m, places, is_crossed, turns)
        is_done = True
        for call in range(calls):
            if time.monotonic() > self.ends:
                is_done = False
                break
            chosen = asks(call)[: self.case.m]
            left = torch.zeros(self.case.m, length, dtype=torch.float64)
            left[torch.arange(self.case.m), chosen] = 1.0
            left = left[:1].expand(self.case.m, -1) if is_one_row else left
            self.asked |= (
                set((chosen[:1] if is_one_row else chosen).tolist()) if is_first else set()
            )
            self._judge(replace(values, left=left))
        if self.found and not self.pattern:
            self.pattern = self._places(is_crossed)
        return is_done

    def _values(self, seed: int) -> Values:
        """Random data; a bias is there, for the sake of the path, and zero."""
        values = make_values(self.case.replace(seed=seed, fill="randn"), "cpu")
        if values.bias is not None:
            values = replace(values, bias=torch.zeros_like(values.bias))
        if self.is_flipped:
            values = replace(values, codes=values.codes.flip(0), g_idx=values.g_idx.flip(0))
        return values

    def _judge(self, values: Values) -> None:
        """One call; the layer is the same tensors in all calls of a problem."""
        case = self.case.replace(g_idx="act") if self.is_flipped else self.case
        same = self._layer.guarded.items() if self._layer else ()
        shared = {name: guarded for name, guarded in same if name != "left"}
        exam = self.exam
        operands = Operands(case, exam.device, values=values, zones=exam.zones, shared=shared)
        self._layer = operands
        mismatch = self._expectation(operands).check(exam.call(operands))
        if mismatch.count:
            self.found.append(wrong_products(mismatch, operands, self.problems))

    def _expectation(self, operands: Operands) -> Expected | ExpectedPanel:
        """What must come of rows of x that are zero but for one place: the rest of K adds nothing,
        and none of its weights is infinite.
        """
        if is_large(operands.case) or operands.case.backward:
            return self.exam.expectation(operands)
        if self._weight is None:
            layer = operands.originals()
            layer.pop("bias")
            self._weight = dequantize(**layer)
        values = operands.values
        ks = values.left.any(0).nonzero().flatten()
        part = replace(
            values, left=values.left[:, ks], codes=values.codes[ks], g_idx=values.g_idx[ks]
        )
        exam = self.exam
        capability = machine_capability(exam.device)
        product = replace(operands.product, values=part)
        return exam.intervals(product, self._weight[ks], exam.numerics, capability)

    @property
    def share(self) -> str:
        """` (160 of 4096 were asked for)` where not all were."""
        length = self.case.reduction
        count = len(self.asked)
        return f" ({count} of {length} were asked for)" if count < length else ""

    def _places(self, is_crossed: bool) -> str:
        """Where the wrong weights lie along k and n, and along m where each row asked for all."""
        case = self.case
        rows, ks, ns = (
            sorted({place for found in self.found for place in getattr(found, axis).tolist()})
            for axis in ("row", "k", "n")
        )
        is_ordered = case.g_idx in ("seq", "none") and not self.is_flipped
        group = case.rows_per_group if is_ordered else 0
        of_k, of_n = (self.asked, None)[:: -1 if case.backward else 1]
        parts = [places("row", rows, case.m)] if is_crossed else []
        parts.append(places("k", ks, case.k, case.unit, group, of_k))
        parts.append(places("column", ns, case.n, case.unit, 0, of_n))
        return "; ".join(parts)


def _sample(g_idx: torch.Tensor, length: int, backward: bool) -> torch.Tensor:
    """CALLS places along a long sum: the ends, both sides of the borders of groups, any others."""
    starts = [] if backward else ((g_idx[1:] != g_idx[:-1]).nonzero().flatten() + 1).tolist()
    ends = [0, length - 1]
    near = sorted({*starts, *(start - 1 for start in starts)} - set(ends))
    some = ends + near[: AT_BORDERS // 4] + near[-AT_BORDERS // 4 :]
    shuffled = random_words(0, "rows", 1, length, "cpu")[0].flatten().argsort().tolist()
    others = [near[at] for at in shuffled if at < len(near)]
    wanted = list(dict.fromkeys(some + others))[:AT_BORDERS]
    return torch.tensor(list(dict.fromkeys(wanted + shuffled))[:CALLS])


def _orders(
    seed: int, m: int, asked: torch.Tensor, is_crossed: bool, turns: int
) -> Callable[[int], torch.Tensor]:
    """Call -> which place each row of x asks for, [M]; each row in another order.

    Crossed, each row asks for all places in as many calls; else all rows do so together. As many
    rows as there are places ask for different ones in each call: a Latin square; more rows are
    dealt out in another, and so `turns` times, in new squares.
    """
    count = len(asked)
    squares = min(-(-m // count), ORDERS)
    order, start = (w.argsort(1) for w in random_words(seed, "rows", squares * turns, count, "cpu"))
    rows = torch.arange(m)

    def chosen(call: int) -> torch.Tensor:
        square = rows // count % squares + (call // count * squares if is_crossed else 0)
        places = start[square, rows % count] + call if is_crossed else rows + call * m
        return asked[order[square, places % count]]

    return chosen
