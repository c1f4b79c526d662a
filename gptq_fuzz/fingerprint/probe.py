"""Questions to a kernel whose answers show how it computes, on weights built for the purpose.

Rows of x are asked many at a time, as many to a call as the case says, so that the path for that
many rows is what answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gptq_fuzz.case.case import Case
from gptq_fuzz.oracle.examination import Examination
from gptq_fuzz.problem.fills import Values
from gptq_fuzz.problem.layouts import Guarded, leading_shape, place_left
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.problem.rounding import FORMATS, Format

MASK = 1.5  # its neighbours are as far above as below, unlike those of a power of two
MOST_DIGITS = 61  # of a format that is looked for; float64 has 53


class Undetermined(Exception):
    """An answer that no way of computing this sum gives; the message says which."""


@dataclass(frozen=True)
class Scale:
    """What x can hold: masks up to 1.5 * 2^`top`, small addends 2^`bottom`, `row` of them at once.

    So many sum to something that float32 still loses beside a mask, and bfloat16 counts exactly.
    """

    top: int
    bottom: int
    row: int

    @property
    def ratios(self) -> range:
        """Exponents of mask / small that can be asked for."""
        return range(4, min(self.top - self.bottom, MOST_DIGITS) + 1)


# float16: normal numbers alone, so that flushing subnormals does not matter
SCALES = {"f16": Scale(15, -14, 31), "bf16": Scale(40, -60, 62), "f32": Scale(40, -60, 62)}


class Probe:
    """One kernel asked about one weight [K, N], each column alike unless `columns` are given."""

    def __init__(self, exam: Examination):
        self.exam = exam
        self.case: Case = exam.case
        self.fmt: Format = FORMATS[self.case.dtype]
        self.scale = SCALES[self.case.dtype]
        self.columns_differ = False
        self.rows = torch.arange(self.case.m)

    def load(self, codes, zeros, scales) -> None:
        """Set the weight: codes [K or K, N], zeros [G or G, N], scales likewise; or one number."""
        k, n, groups = self.case.k, self.case.n, self.case.groups
        values = Values(
            codes=_filled(codes, k, n).long(),
            zeros=_filled(zeros, groups, n).long(),
            scales=_filled(scales, groups, n).double(),
            g_idx=torch.arange(k) // self.case.rows_per_group,
            left=torch.zeros(self.case.m, k, dtype=torch.float64),
            bias=None,
        )
        self.operands = Operands(self.case, self.exam.device, values=values, zones=self.exam.zones)

    def answers(self, rows: torch.Tensor) -> torch.Tensor:
        """[R, K] rows of x -> [R, N] float64, on the CPU."""
        outs = []
        for part in rows.split(len(self.rows)):
            left = torch.zeros(self.case.m, self.case.k, dtype=torch.float64)
            left[self.rows[: len(part)]] = part
            outs.append(self._call(left)[self.rows[: len(part)]])
        return torch.cat(outs)

    def choose_rows(self) -> None:
        """Ask from now on in rows that add up in the same order as the first one does."""
        every = torch.arange(self.case.m)
        leaves = list(range(min(self.case.k, self.scale.row + 2)))
        alike = torch.ones(self.case.m, dtype=torch.bool)
        for other in leaves[1:]:
            left = self._masked(leaves[0], other, torch.tensor(leaves)).expand(self.case.m, -1)
            out = self._call(left)[:, 0]
            alike &= (out == out[0]) | torch.isnan(out) & torch.isnan(out[0])
        self.rows = every[alike]

    def _call(self, left: torch.Tensor) -> torch.Tensor:
        stored = left.to(self.fmt.torch_dtype)
        place, leading = place_left(self.case), leading_shape(self.case.m, self.case.rank)
        placed = Guarded(stored, place, self.exam.device, leading, self.exam.zones)
        self.operands.guarded["left"] = placed
        return self.exam.call(self.operands).double().cpu()

    def column(self, rows: torch.Tensor) -> torch.Tensor:
        """[R]: the answers in the first column; whether any other differs is kept."""
        out = self.answers(rows)
        self.columns_differ |= not torch.equal(out, out[:, :1].expand_as(out))
        return out[:, 0]

    def row(self, **at: float) -> torch.Tensor:
        """A row of x that holds these values: `row(k3=1.5)` is 1.5 at k = 3."""
        row = torch.zeros(self.case.k, dtype=torch.float64)
        for name, value in at.items():
            row[int(name[1:])] = value
        return row

    def digits(self, i: int, j: int, end: int) -> int | None:
        """Digits that hold mask + small: the mask at i, a small one at j, minus the mask at `end`.

        One more than can be asked where nothing is ever lost; None where no width explains it.
        """
        kept = self._kept(i, j, end)
        first = kept.index(False) if False in kept else len(kept)
        return None if any(kept[first:]) or not first else self.scale.ratios[0] + first

    def narrowest(self, triples: list[tuple[int, int, int]]) -> int | None:
        """The same where it is open which of three is added last: by the first loss of any."""
        every = [self._kept(*places) for places in triples]
        kept = [all(each) for each in zip(*every, strict=True)]
        first = kept.index(False) if False in kept else len(kept)
        return self.scale.ratios[0] + first if first else None

    def _kept(self, i: int, j: int, end: int) -> list[bool]:
        """For each ratio of mask and small: whether the small one is left when the masks cancel."""
        low = 2.0**self.scale.bottom
        masks = [MASK * low * 2.0**ratio for ratio in self.scale.ratios]
        rows = [self.row(**{f"k{i}": mask, f"k{j}": low, f"k{end}": -mask}) for mask in masks]
        return (self.column(torch.stack(rows)) == low).tolist()

    def survivors(self, pairs: list[tuple[int, int]], leaves: list[int]) -> list[int]:
        """For each pair of places: how many of the other leaves are not lost between masks there.

        Raises Undetermined for a result that is no number of leaves.
        """
        rows, owners = [], []
        for number, (i, j) in enumerate(pairs):
            others = torch.tensor([leaf for leaf in leaves if leaf not in (i, j)])
            for some in others.split(self.scale.row):
                rows.append(self._masked(i, j, some))
                owners.append((number, len(some)))
        counts = self.column(torch.stack(rows)) / 2.0**self.scale.bottom
        found = [0] * len(pairs)
        for (number, most), count in zip(owners, counts.tolist(), strict=True):
            if not (0 <= count <= most and count == int(count)):
                raise Undetermined(f"{most} addends and two masks gave {count:g}")
            found[number] += int(count)
        return found

    def _masked(self, i: int, j: int, small: torch.Tensor) -> torch.Tensor:
        """A row of small addends with a mask at i and its negative at j."""
        row = torch.zeros(self.case.k, dtype=torch.float64)
        row[small] = 2.0**self.scale.bottom
        row[i], row[j] = MASK * 2.0**self.scale.top, -MASK * 2.0**self.scale.top
        return row


def _filled(given, rows: int, columns: int) -> torch.Tensor:
    values = torch.as_tensor(given)
    values = values.unsqueeze(1) if values.dim() == 1 else values
    return values.expand(rows, columns).clone()
