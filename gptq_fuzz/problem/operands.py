"""From a Case to the tensors that a kernel gets: packed, placed in memory, guarded."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from gptq_fuzz.case.axes import CUT, EVERY_NAN, STRIDES, TURNED
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.environment import UNTIMED
from gptq_fuzz.problem.fills import LARGE, Values, make_values
from gptq_fuzz.problem.layouts import (
    RESERVED,
    Guarded,
    GuardedFar,
    GuardedRows,
    Placement,
    leading_shape,
    place_left,
    place_right,
)
from gptq_fuzz.problem.nans import with_every_nan
from gptq_fuzz.problem.rounding import FORMATS
from gptq_fuzz.reference.packing import pack_rows, pack_zeros

TOGETHER = {"cpu": 2**18, "cuda": 2**24}  # codes that are packed at a time: as a cache holds
_LAST: list[torch.Tensor] = []  # codes of a large layer, and what they were packed into
SMALL = 2**16  # elements of x, the weights and the result, below which a GPU would only wait


def judged_on(case: Case, device: str) -> str:
    """Where values, reference and bounds of a case are computed: small ones on the host, always.

    Some 500 operations surround a launch; on few elements each costs a GPU more than a CPU. Under
    a sanitizer, which slows each of them down and would watch torch's kernels too, all stay there.
    """
    elements = case.m * case.k + case.k * case.n + case.m * case.n
    return "cpu" if elements <= SMALL or os.environ.get(UNTIMED) else device


@dataclass(frozen=True)
class Product:
    """What is multiplied, and how it is stored: all that the judge is given of a problem.

    `dtype` is that of left, result and bias: "f16", "bf16" or "f32". `fill` says how the numbers
    were drawn; None where nothing is known of them, so that only bounds of the worst case hold.
    """

    values: Values
    bits: int
    dtype: str
    scales_dtype: str
    backward: bool = False
    fill: str | None = None

    @property
    def middle(self) -> int:
        """c, what codes of symmetric layers are counted from."""
        return 2 ** (self.bits - 1)


class GuardedOperands:
    """The guarded tensors of one problem on one device, and the plain values that describe them.

    `left` is x [..., K], or the gradient [..., N]; `weights()` are the operands that make up the
    layer, `originals()` the same as they were built, where the problem is judged.
    """

    guarded: dict[str, Guarded]
    options: dict  # bits, group_size, checkpoint_format
    out_shape: tuple[int, ...]
    out_dtype: torch.dtype

    @property
    def left(self) -> torch.Tensor:
        return self.guarded["left"].view

    def weights(self) -> dict:
        """The layer, by keyword: tensors, and the plain values that describe them."""
        return self._layer(lambda guarded: guarded.view)

    def originals(self) -> dict:
        """The layer as it was built: what the reference reads, out of every kernel's reach."""
        return self._layer(lambda guarded: guarded.original)

    def _layer(self, tensor_of) -> dict:
        views = {name: tensor_of(kept) for name, kept in self.guarded.items() if name != "left"}
        return {"g_idx": None, "bias": None} | views | self.options

    def damage(self) -> tuple[str, str] | None:
        """(verdict, operand) for the first buffer whose bytes have changed."""
        for name, guarded in self.guarded.items():
            if not guarded.is_untouched():
                return ("INPUT_CHANGED" if guarded.is_inside() else "OUT_OF_BOUNDS"), name
        return None


class Operands(GuardedOperands):
    """The guarded tensors of one Case, and the values behind them.

    `left` is the gradient in a `bwd` case. `shared` are guarded operands of another problem that
    serve here too, the same tensors. Raises ValueError for values that cannot be packed.
    """

    def __init__(
        self,
        case: Case,
        device,
        *,
        values: Values | None = None,
        zones: bool = True,
        shared: dict[str, Guarded] | None = None,
    ):
        self.case = case
        self.device = device
        self.values = make_values(case, judged_on(case, device)) if values is None else values
        self.options = {
            "bits": case.bits,
            "group_size": case.group_size,
            "checkpoint_format": case.checkpoint_format,
        }
        self.out_shape = (*leading_shape(case.m, case.rank), case.columns)
        self.out_dtype = FORMATS[case.dtype].torch_dtype
        self._zones = zones
        shared = shared or {}
        self.guarded = {
            name: shared[name] if name in shared else make()
            for name, make in self._makers().items()
        }

    @property
    def product(self) -> Product:
        case = self.case
        dtypes = case.dtype, case.scales_dtype[1:]
        return Product(self.values, case.bits, *dtypes, case.backward, case.fill)

    def _makers(self):
        """Operand -> what makes it, in the order in which they are compared afterwards."""
        case, values = self.case, self.values
        scales_dtype = case.scales_dtype[1:]
        makers = {
            "left": self._left,
            "qweight": lambda: self._right(_packed(values.codes, case.bits), "qweight"),
            "qzeros": lambda: self._right(
                pack_zeros(values.zeros, case.bits, case.checkpoint_format), "qzeros"
            ),
            "scales": lambda: self._right(self._stored(values.scales, scales_dtype), "scales"),
        }
        if values.fractions is not None:
            fractions = FORMATS[scales_dtype].torch_dtype
            makers["fractions"] = lambda: self._right(values.fractions.to(fractions), "fractions")
        if case.g_idx != "none":
            makers["g_idx"] = lambda: self._right(values.g_idx.to(torch.int32), "g_idx")
        if values.bias is not None:
            makers["bias"] = lambda: self._right(self._stored(values.bias, case.dtype), "bias")
        return makers

    def _stored(self, values: torch.Tensor, name: str) -> torch.Tensor:
        """float64 values of a format, as that."""
        fmt = FORMATS[name]
        if self.case.fill == EVERY_NAN:
            return with_every_nan(values, fmt, self.case.seed)
        return values.to(fmt.torch_dtype)

    def _left(self) -> Guarded:
        left = self._stored(self.values.left, self.case.dtype)
        leading = leading_shape(self.case.m, self.case.rank)
        placement = place_left(self.case).moved(self.case.bytes_off("left") // left.element_size())
        gap = (placement.row_stride - self.case.reduction) * left.element_size()
        kind = GuardedRows if gap > RESERVED and self.case.m > 1 else _kind_of(placement, left)
        return kind(left, placement, self.device, leading, self._zones)

    def _right(self, tensor: torch.Tensor, name: str) -> Guarded:
        is_vector, token = tensor.dim() == 1, STRIDES.get(name)
        rows = tensor.unsqueeze(0) if is_vector else tensor
        strided = self.case.strided
        is_cut, is_turned = (kind.get(token) in strided for kind in (CUT, TURNED))
        placement = place_right(*rows.shape, token in strided, is_cut, is_turned)
        placement = placement.moved(self.case.bytes_off(name) // rows.element_size())
        leading = () if is_vector else None
        kind = _kind_of(placement, rows)
        return kind(rows, placement, self.device, leading, self._zones)

    def output(self) -> Guarded:
        """A poisoned buffer for the result, red zones around it."""
        place = self.values.codes.device
        poison = torch.full(self.out_shape, torch.nan, dtype=self.out_dtype, device=place)
        return Guarded.like(poison, self.device, self._zones)


def _packed(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """qweight; of the codes of a large layer, which come again, it is kept."""
    if codes.numel() < LARGE:
        return _packed_anew(codes, bits)
    if not _LAST or _LAST[0] is not codes:
        _LAST[:] = codes, _packed_anew(codes, bits)
    return _LAST[1]


def _packed_anew(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Columns at a time, since packing holds several copies of what it packs."""
    width = max(TOGETHER[codes.device.type] // len(codes), 1)
    if codes.shape[1] <= width:
        return pack_rows(codes, bits)
    return torch.cat([pack_rows(some, bits) for some in codes.split(width, 1)], 1)


def _kind_of(placement: Placement, values: torch.Tensor) -> type[Guarded]:
    """How `values` are stored that have no gaps to speak of."""
    return GuardedFar if placement.offset * values.element_size() > RESERVED else Guarded
