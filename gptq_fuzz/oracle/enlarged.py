"""A layer of a case's kind, as large as what is counted in it asks for.

It is not judged: its operands are those of a few groups, over and over.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from gptq_fuzz.case.axes import WHOLE_GROUP
from gptq_fuzz.case.case import Case
from gptq_fuzz.oracle.conditions.parts import loaded
from gptq_fuzz.oracle.kept import NoTimeLeft
from gptq_fuzz.problem.layouts import leading_shape
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.problem.rounding import FORMATS

GROUP = 128  # rows, or what comes next to it of those that are taken
TIMED_CALLS = 3  # of the case itself, by which it is foretold how long one of these takes
PLAIN = {"layout": "", "strided": (), "start": 0, "bias": False, "out": False, "backward": False}
PLAIN |= {"bad": "", "state": "", "condition": ""}


@dataclass(frozen=True)
class Enlarged:
    """Such a layer: what `loaded` asks of operands, and x for it."""

    case: Case
    layer: dict
    device: str

    def weights(self) -> dict:
        return self.layer

    def copied(self) -> Enlarged:
        """The same layer, in tensors of its own."""
        layer = {
            name: value.clone() if isinstance(value, torch.Tensor) else value
            for name, value in self.layer.items()
        }
        return replace(self, layer=layer)

    def rows(self, number: int, columns: int | None = None) -> torch.Tensor:
        """A new x, or of so many columns what is summed for a gradient; another one each time."""
        case = self.case
        shape = *leading_shape(case.m, case.rank), columns or case.k
        rows = torch.ones(shape, dtype=FORMATS[case.dtype].torch_dtype, device=self.device)
        rows.view(-1)[:1] = number % 512
        return rows


def enlarged(exam, rows: int, columns: int, reduction: int) -> Enlarged | None:
    """About as large; None where the kernel takes none like that."""
    case = _case_of(exam.limits, exam.case, rows, columns)
    if case is None or case.g_idx not in ("seq", "none"):
        return None
    times = max(1, reduction // case.k)
    whole = case.replace(k=case.k * times)
    if exam.limits.violations(whole):
        return None
    layer = _lengthened(Operands(case, exam.device, zones=exam.zones), times)
    return Enlarged(whole, layer, exam.device)


def _case_of(limits, case: Case, rows: int, columns: int) -> Case | None:
    """The least K of these columns that whole groups fill."""
    _, n, k = limits.units(case.unit)
    sizes = [size for size in limits.group_sizes or (GROUP,) if size != WHOLE_GROUP]
    size = min(sizes, key=lambda size: abs(size - GROUP), default=WHOLE_GROUP)
    k = math.lcm(k, size if sizes else 1) * limits.groups_least
    rank = 2 if 2 in limits.ranks else limits.laid_out[0]
    sizes = {"m": 1 if rank == 1 else rows, "n": -(-columns // n) * n, "k": k, "rank": rank}
    fields = vars(case) | PLAIN | sizes | {"group_size": size, "g_idx": limits.g_idx[0]}
    try:
        found = Case(**limits.fitted(fields))
    except ValueError:
        return None
    return None if limits.violations(found) else found


def _lengthened(operands: Operands, times: int) -> dict:
    """The layer with its rows so many times, in groups of their own but for a single one."""
    case, layer = operands.case, {}
    for name, value in operands.weights().items():
        is_of_groups = name in ("qzeros", "scales", "fractions")
        if isinstance(value, torch.Tensor) and not (
            is_of_groups and case.group_size == WHOLE_GROUP
        ):
            value = value.repeat(times, *[1] * (value.dim() - 1))
        layer[name] = value
    if layer["g_idx"] is not None and case.group_size != WHOLE_GROUP:
        firsts = torch.arange(times, dtype=torch.int32, device=operands.device) * case.groups
        layer["g_idx"] += firsts.repeat_interleave(case.k)
    return layer


class Calls:
    """Calls of the layer, loaded once, until time is up; what they warn of is nobody's business."""

    def __init__(self, exam, layer: Enlarged, seconds: float):
        self._exam, self._layer = exam, layer
        self._prepared = self._load()
        self.ends = time.monotonic() + seconds

    def _load(self) -> Callable:
        return loaded(self._exam, self._layer)

    def __call__(self, left: torch.Tensor) -> torch.Tensor:
        """Raises NoTimeLeft."""
        if time.monotonic() > self.ends:
            raise NoTimeLeft
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._prepared(left)


class CallsOfNewLayers(Calls):
    """Each of a layer of its own, which is dropped then."""

    def _load(self) -> Callable:
        return lambda left: loaded(self._exam, self._layer.copied())(left)


def seconds_of(exam, layer: Enlarged) -> float:
    """What one call of it takes, as calls of the case itself foretell."""
    took = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(TIMED_CALLS):
            started = time.monotonic()
            exam.backend.call(exam.case, exam.operands.left, exam.operands.weights())
            took.append(time.monotonic() - started)
    large, small = (exam.limits.tiles(case.m, case.n, case.k) for case in (layer.case, exam.case))
    return min(took) * large / small
