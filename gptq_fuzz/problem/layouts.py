"""Where an operand lies in memory: strides, offsets, ranks, and the red zones around it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gptq_fuzz.case.case import Case

ZONE_UNIT = 256  # bytes; keeps torch's own alignment for a contiguous operand
POISON = 0xFF  # NaN in every float format, -1 in every integer one


@dataclass(frozen=True)
class Placement:
    """Strides and storage offset in elements; `row_stride` 0 stores one row for all."""

    row_stride: int
    column_stride: int = 1
    offset: int = 0


class Guarded:
    """A tensor inside a poisoned buffer on a device, and the bytes it was made from.

    `view` is what a kernel gets, `original` the same cells of the bytes kept to compare with,
    which stay where `values` are.
    """

    def __init__(
        self, values: torch.Tensor, placement: Placement, device, leading=None, zones=True
    ):
        """`values` [rows, columns] stored by `placement`; `leading` replaces rows in the shape."""
        rows, columns = values.shape
        stored = min(rows, 1) if placement.row_stride == 0 else rows
        item = values.element_size()
        zone = max(4 * ZONE_UNIT, _round_up(columns * item, ZONE_UNIT)) if zones else 0
        span = _span(stored, columns, placement) + placement.offset
        self._before = torch.full(
            (2 * zone + span * item,), POISON, dtype=torch.uint8, device=values.device
        )
        first = zone // item + placement.offset
        strides = (placement.row_stride, placement.column_stride)

        def cells_of(storage: torch.Tensor) -> torch.Tensor:
            return storage.view(values.dtype).as_strided((stored, columns), strides, first)

        self._cells_of = cells_of
        cells_of(self._before).copy_(values[:stored])
        self.storage = self._before.to(device, copy=True)
        shape, outer = _with_leading(rows if leading is None else leading, placement.row_stride)
        self.view, self.original = (
            storage.view(values.dtype).as_strided(
                (*shape, columns), (*outer, placement.column_stride), first
            )
            for storage in (self.storage, self._before)
        )

    def _now(self, copy: bool = False) -> torch.Tensor:
        return self.storage.to(self._before.device, copy=copy)

    def is_untouched(self) -> bool:
        """No byte of the buffer differs from what was written, red zones and gaps included."""
        return torch.equal(self._now(), self._before)

    def is_inside(self) -> bool:
        """No byte outside the tensor's own cells differs."""
        now = self._now(copy=True)
        self._cells_of(now).copy_(self._cells_of(self._before))
        return torch.equal(now, self._before)


def _round_up(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def _span(rows: int, columns: int, placement: Placement) -> int:
    if not rows or not columns:
        return 0
    return 1 + (rows - 1) * placement.row_stride + (columns - 1) * placement.column_stride


def _with_leading(leading, row_stride: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and strides of the dimensions before the last, rows in order."""
    shape = (leading,) if isinstance(leading, int) else tuple(leading)
    strides, stride = [], row_stride
    for size in reversed(shape):
        strides.append(stride)
        stride *= max(size, 1)
    return shape, tuple(reversed(strides))


def leading_shape(m: int, rank: int) -> tuple[int, ...]:
    """Dimensions before the last for M rows: dim1 (), dim2 (M), dim3 (2, M/2) where M is even."""
    half = (2, m // 2) if m and m % 2 == 0 else (1, m)
    return {1: (), 2: (m,), 3: half, 4: (half[0], 1, half[1])}[rank]


def place_left(case: Case) -> Placement:
    """Where x [M, R] lies (or the gradient with respect to the output)."""
    kind, amount = case.layout_kind, case.layout_amount
    if kind == "xt":
        return Placement(1, max(case.m, 1))
    if kind == "bcast":
        return Placement(0)
    pad = amount if kind == "pad" else 0
    return Placement(case.reduction + pad, offset=amount if kind == "off" else 0)


def place_right(columns: int, strided: bool) -> Placement:
    """Contiguous, or every second cell of rows that are two cells longer: no stride is 1."""
    return Placement(2 * columns + 2, 2) if strided else Placement(columns)
