"""Where an operand lies in memory: strides, offsets, ranks, and the red zones around it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from gptq_fuzz.case.axes import BATCHED, LAP, LAP_TURNED
from gptq_fuzz.case.case import Case

ZONE_UNIT = 256  # bytes; keeps torch's own alignment for a contiguous operand
POISON = 0xFF  # NaN in every float format, -1 in every integer one
# Bytes between rows, or before a tensor, that are only reserved, neither written nor compared
RESERVED = 2**26


class CannotReserve(Exception):
    """There is no room for so many bytes, however few of them are used."""


@dataclass(frozen=True)
class Placement:
    """Strides and storage offset in elements; `row_stride` 0 stores one row for all.

    `outer` are the strides of the dimensions before the rows; None: rows follow each other.
    """

    row_stride: int
    column_stride: int = 1
    offset: int = 0
    outer: tuple[int, ...] | None = None

    def moved(self, cells: int) -> Placement:
        """The same, so many elements further on."""
        return replace(self, offset=self.offset + cells)


class Guarded:
    """A tensor inside a poisoned buffer on a device, and the bytes it was copied from.

    `view` is what a kernel gets, `original` the same cells of the bytes kept to compare with,
    which stay where `values` are.
    """

    def __init__(
        self, values: torch.Tensor, placement: Placement, device, leading=None, zones=True
    ):
        """`values` [rows, columns] stored by `placement`; `leading` replaces rows in the shape."""
        rows, columns = values.shape
        shape, outer = _with_leading(rows if leading is None else leading, placement)
        strides = (*outer, placement.column_stride)
        self._store(values.reshape(*shape, columns), strides, placement.offset, device, zones)

    @classmethod
    def like(cls, tensor: torch.Tensor, device, zones=True) -> Guarded:
        """A copy of `tensor` that lies as it does: its strides and its offset."""
        guarded = cls.__new__(cls)
        guarded._store(tensor, tensor.stride(), tensor.storage_offset(), device, zones)
        return guarded

    def _store(self, values: torch.Tensor, strides, offset: int, device, zones: bool) -> None:
        item = values.element_size()
        zone = _zone(values) if zones else 0
        cells = stored_cells(values, strides)
        size = 2 * zone + (span(cells.shape, strides) + offset) * item
        self._before = torch.full((size,), POISON, dtype=torch.uint8, device=values.device)
        first = zone // item + offset

        def cells_of(storage: torch.Tensor) -> torch.Tensor:
            return storage.view(values.dtype).as_strided(cells.shape, strides, first)

        self._cells_of = cells_of
        cells_of(self._before).copy_(cells)
        self.storage = self._before.to(device, copy=True)
        self.view, self.original = (
            storage.view(values.dtype).as_strided(values.shape, strides, first)
            for storage in (self.storage, self._before)
        )

    def write(self, values: torch.Tensor) -> None:
        """Other values of that shape, which are those to compare with from now on."""
        self.view.copy_(values)
        self.original.copy_(values)

    def copied(self, of: Callable[[torch.Tensor], torch.Tensor]) -> Guarded:
        """The same in the tensor that `of` makes of this one, storage and all."""
        view = of(self.view)
        if view.untyped_storage().nbytes() < self.view.untyped_storage().nbytes():
            # A parameter is copied by its cells, without what lies around them
            view = of_its_kind(self.view, of(self.view.detach()))
        twin = copy.copy(self)
        twin.view, twin._before = view, self._before.clone()
        twin.storage = torch.empty(0, dtype=torch.uint8, device=view.device)
        part = self.storage.storage_offset(), self.storage.shape
        twin.storage.set_(view.untyped_storage(), *part)
        original = self.original
        form = original.shape, original.stride(), original.storage_offset()
        twin.original = twin._before.view(view.dtype).as_strided(*form)
        return twin

    def surround(self, byte: int) -> None:
        """Other poison around the tensor's own cells and between them."""
        cells = self._cells_of(self._before).clone()
        self._before.fill_(byte)
        self._cells_of(self._before).copy_(cells)
        self._stored().copy_(self._before)

    def _stored(self) -> torch.Tensor:
        return self.storage

    def _now(self, copy: bool = False) -> torch.Tensor:
        return self._stored().to(self._before.device, copy=copy)

    def is_untouched(self) -> bool:
        """No byte of the buffer differs from what was written, red zones and gaps included."""
        return torch.equal(self._now(), self._before)

    def is_inside(self) -> bool:
        """No byte outside the tensor's own cells differs."""
        now = self._now(copy=True)
        self._cells_of(now).copy_(self._cells_of(self._before))
        return torch.equal(now, self._before)


class GuardedRows(Guarded):
    """Rows so far apart that the memory between them is only reserved: each has its red zones.

    So offsets past 2^31 need no such memory, where a system gives it out when it is first written.
    """

    def _store(self, values: torch.Tensor, strides, offset: int, device, zones: bool) -> None:
        rows = values.reshape(-1, values.shape[-1])
        item = values.element_size()
        zone = _zone(values) if zones else 0
        stride, width = strides[-2] * item, rows.shape[1] * item
        size = (len(rows) - 1) * stride + width + 2 * zone + offset * item
        self.storage = _reserved(size, device)
        shape = (len(rows), width + 2 * zone)
        self._windows = self.storage.as_strided(shape, (stride, 1), offset * item)
        self._before = torch.full(shape, POISON, dtype=torch.uint8, device=values.device)

        def cells_of(windows: torch.Tensor) -> torch.Tensor:
            return windows[:, zone : zone + width]

        self._cells_of = cells_of
        cells_of(self._before).copy_(rows.contiguous().view(torch.uint8))
        self._windows.copy_(self._before)
        first = zone // item + offset
        self.view = self.storage.view(values.dtype).as_strided(values.shape, strides, first)
        self.original = values

    def _stored(self) -> torch.Tensor:
        return self._windows


class GuardedFar(GuardedRows):
    """A tensor of any strides so far into its storage that what lies before is only reserved."""

    def _store(self, values: torch.Tensor, strides, offset: int, device, zones: bool) -> None:
        Guarded._store(self, values, strides, 0, device, zones)
        near, start = self.storage, offset * values.element_size()
        self.storage = _reserved(start + near.nbytes, device)
        self._windows = self.storage[start:]
        self._windows.copy_(near)
        first = self.view.storage_offset() + offset
        self.view = self.storage.view(values.dtype).as_strided(values.shape, strides, first)


def _reserved(size: int, device) -> torch.Tensor:
    """So many bytes, none of them written. Raises CannotReserve."""
    try:
        return torch.empty(size, dtype=torch.uint8, device=device)
    except RuntimeError as problem:
        raise CannotReserve(size) from problem


def as_parameter(tensor: torch.Tensor) -> torch.nn.Parameter:
    """The same cells as a parameter of a module that is not trained."""
    return torch.nn.Parameter(tensor, requires_grad=False)


def of_its_kind(before: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Another tensor of the same cells: a parameter where the one before is one."""
    return as_parameter(tensor) if isinstance(before, torch.nn.Parameter) else tensor.data


def _zone(values: torch.Tensor) -> int:
    """Bytes of a red zone."""
    return max(4 * ZONE_UNIT, _round_up(values.shape[-1] * values.element_size(), ZONE_UNIT))


def _round_up(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def stored_cells(values: torch.Tensor, strides) -> torch.Tensor:
    """`values` with one place for all along each dimension whose stride is 0."""
    return values[tuple(slice(None if stride else 1) for stride in strides)]


def span(shape, strides) -> int:
    """Elements from the first of a tensor to its last."""
    if 0 in shape:
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


def _with_leading(leading, placement: Placement) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and strides of the dimensions before the last, rows in order."""
    shape = (leading,) if isinstance(leading, int) else tuple(leading)
    if placement.outer is not None:
        return shape, (*placement.outer, placement.row_stride)
    strides, stride = [], placement.row_stride
    for size in reversed(shape):
        strides.append(stride)
        stride *= max(size, 1)
    return shape, tuple(reversed(strides))


def leading_shape(m: int, rank: int) -> tuple[int, ...]:
    """Dimensions before the last for M rows: dim1 (), dim2 (M), dim3 (2, M/2) where M is even."""
    half = (2, m // 2) if m and m % 2 == 0 else (1, m)
    return {1: (), 2: (m,), 3: half, 4: (half[0], 1, half[1])}[rank]


def rows_stored(case: Case) -> int:
    """Rows of x that have a place of their own."""
    if case.layout in ("bcast", "scalar"):
        return min(case.m, 1)
    return leading_shape(case.m, case.rank)[-1] if case.layout == "expand" else case.m


def windows_of(rows: torch.Tensor, apart: int) -> torch.Tensor:
    """`rows` [M, R] as windows of one line that begin `apart` elements after each other: what
    several of them hold is of the first.
    """
    count, width = rows.shape
    place = torch.arange(count, device=rows.device).unsqueeze(1) * apart
    place = place + torch.arange(width, device=rows.device)
    first = ((place - width) // apart + 1).clamp(min=0)
    return rows[first, place - first * apart]


def place_left(case: Case) -> Placement:
    """Where x [M, R] lies (or the gradient with respect to the output)."""
    kind, amount = case.layout_kind, case.layout_amount
    if kind in ("xt", "xtp"):
        return Placement(1, max(case.m + amount, 1))
    if kind == "xts":
        return Placement(2, 2 * case.m + amount)
    if kind == "bcast":
        return Placement(0)
    if kind == "step":
        return Placement(2 * case.reduction + amount, 2)
    if kind == "leap":
        apart = 3 if amount % 2 else 5  # and no power of two
        return Placement(apart * case.reduction + amount, apart)
    if kind == LAP:
        return Placement(amount)
    if kind == LAP_TURNED:
        return Placement(1, amount)
    if kind == "kcast":
        return Placement(case.reduction, 0)
    if kind == "scalar":
        return Placement(0, 0)
    if kind in BATCHED:
        return _place_batches(case)
    pad = amount if kind == "pad" else 0
    return Placement(case.reduction + pad, offset=amount if kind == "off" else 0)


def _place_batches(case: Case) -> Placement:
    """Of batches of rows: each without its first rows, every second one, row by row, or one in
    memory for all.
    """
    batches, *ones, rows = leading_shape(case.m, case.rank)
    width, cut = case.reduction, case.layout_amount
    if case.layout == "swap":
        return Placement(batches * width, outer=(width,) * (1 + len(ones)))
    if case.layout == "expand":
        return Placement(width, outer=(0,) * (1 + len(ones)))
    batch = 2 * rows if case.layout == "alt" else rows + cut
    return Placement(width, offset=cut * width, outer=(batch * width,) * (1 + len(ones)))


def place_right(
    rows: int, columns: int, strided: bool, cut: bool = False, turned: bool = False
) -> Placement:
    """Contiguous, or every second cell of rows that are two cells longer: no stride is 1. `cut`:
    out of rows three times as long, as one of three layers that are joined. `turned`: the same of
    the transposed tensor.
    """
    length = rows if turned else columns
    strides = (2 * length + 2 if strided else length) * (3 if cut else 1), 2 if strided else 1
    return Placement(*(strides[::-1] if turned else strides))
