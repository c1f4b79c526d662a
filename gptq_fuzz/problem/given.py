"""Operands that somebody has at hand: checked before anything is computed, of any strides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from gptq_fuzz.case.axes import BITS, FORMATS, WHOLE_GROUP, WORD_BITS, codes_in_words
from gptq_fuzz.problem import rounding
from gptq_fuzz.problem.fills import Values
from gptq_fuzz.problem.layouts import Guarded
from gptq_fuzz.problem.operands import GuardedOperands, Product
from gptq_fuzz.reference.matmul import dequantize
from gptq_fuzz.reference.packing import unpack_rows, unpack_zeros

DTYPE_NAMES = {fmt.torch_dtype: name for name, fmt in rounding.FORMATS.items()}
INTEGERS = ("qweight", "qzeros", "g_idx")
TENSORS = ("x", "qweight", "qzeros", "scales", "g_idx", "bias")
OPTIONAL = ("g_idx", "bias")


@dataclass(frozen=True, eq=False)
class Problem:
    """x [..., K] and a GPTQ layer of N columns in G groups, as tensors of any strides.

    qweight [K * bits / 32, N] and qzeros [G, N * bits / 32] int32, scales [G, N], g_idx [K] int32
    or None: then rows are in order, `group_size` of them in a group (-1: all; None: K / G). bias
    [N] has x's dtype. `out` is what some kernel returned, where that is known; it is not checked.
    Raises TypeError and ValueError that say what was wanted and what came.
    """

    x: torch.Tensor
    qweight: torch.Tensor
    qzeros: torch.Tensor
    scales: torch.Tensor
    bits: int
    g_idx: torch.Tensor | None = None
    group_size: int | None = None
    bias: torch.Tensor | None = None
    checkpoint_format: str = "v1"
    out: Any = None

    def __post_init__(self) -> None:
        self._require_options()
        for name in TENSORS:
            if getattr(self, name) is not None or name not in OPTIONAL:
                self._require_tensor(name)
        self._require_one_device()
        self._require_shapes()
        self._require_groups()

    @property
    def unit(self) -> int:
        """Codes that fill whole words."""
        return codes_in_words(self.bits)

    @property
    def m(self) -> int:
        """Rows of x, whatever its dimensions."""
        return math.prod(self.x.shape[:-1])

    @property
    def k(self) -> int:
        return self.qweight.shape[0] * self.unit

    @property
    def n(self) -> int:
        return self.qweight.shape[1]

    @property
    def groups(self) -> int:
        return self.scales.shape[0]

    @property
    def rows_per_group(self) -> int:
        """The group size, as a kernel wants it: K / G, rounded up, where none was given."""
        if self.group_size is None:
            return -(-self.k // self.groups)
        return self.k if self.group_size == WHOLE_GROUP else self.group_size

    @property
    def out_shape(self) -> tuple[int, ...]:
        return (*self.x.shape[:-1], self.n)

    @property
    def out_dtype(self) -> torch.dtype:
        return self.x.dtype

    @property
    def device(self) -> torch.device:
        return self.x.device

    def group_of_row(self) -> torch.Tensor:
        """[K] int64."""
        if self.g_idx is not None:
            return self.g_idx.long()
        return torch.arange(self.k, device=self.device) // self.rows_per_group

    def operands(self) -> dict:
        """What `verify` takes beside `out`, by keyword."""
        return {name: value for name, value in vars(self).items() if name != "out"}

    def product(self, left: torch.Tensor, numbers: dict) -> Product:
        """Rows `left` [M', K] float64 times the columns whose `numbers` these are."""
        dtypes = DTYPE_NAMES[self.x.dtype], DTYPE_NAMES[self.scales.dtype]
        return Product(Values(left=left, **numbers), self.bits, *dtypes)

    def columns(self, chosen: slice, place) -> tuple[dict, torch.Tensor]:
        """The numbers behind whole words of columns, and the weight [K, N'] that they give."""
        words = slice(chosen.start // self.unit, chosen.stop // self.unit)
        qweight = self.qweight[:, chosen].to(place)
        qzeros = self.qzeros[:, words].to(place)
        scales = self.scales.detach()[:, chosen].to(place)
        g_idx = self.group_of_row().to(place)
        form = {"checkpoint_format": self.checkpoint_format}
        numbers = {
            "codes": unpack_rows(qweight, self.bits),
            "zeros": unpack_zeros(qzeros, self.bits, **form),
            "g_idx": g_idx,
            "scales": scales.double(),
            "bias": None if self.bias is None else self.bias.detach()[chosen].to(place).double(),
        }
        return numbers, dequantize(qweight, qzeros, scales, g_idx, self.bits, **form)

    def _require_options(self) -> None:
        if type(self.bits) is not int or self.bits not in BITS:
            raise ValueError(f"bits must be one of {_listed(sorted(BITS))}, got {self.bits!r}")
        if self.checkpoint_format not in FORMATS:
            got = f"got {self.checkpoint_format!r}"
            raise ValueError(f"checkpoint_format must be one of {_listed(FORMATS)}, {got}")
        size = self.group_size
        if size is not None and (type(size) is not int or (size < 1 and size != WHOLE_GROUP)):
            raise ValueError(f"group_size must be -1, a positive integer or None, got {size!r}")

    def _require_tensor(self, name: str) -> None:
        tensor = getattr(self, name)
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(tensor).__name__}")
        wanted = [torch.int32] if name in INTEGERS else list(DTYPE_NAMES)
        wanted = [self.x.dtype] if name == "bias" else wanted
        if tensor.dtype not in wanted:
            of_x = " as x is" if name == "bias" else ""
            raise TypeError(f"{name} must be {_listed(wanted, ' or ')}{of_x}, got {tensor.dtype}")
        if tensor.layout != torch.strided:
            raise TypeError(f"{name} must be a strided tensor, got {tensor.layout}")
        if tensor.is_meta:
            raise ValueError(f"{name} must hold numbers, got a tensor on the meta device")

    def _require_one_device(self) -> None:
        tensors = {name: getattr(self, name) for name in TENSORS}
        places = {name: tensor.device for name, tensor in tensors.items() if tensor is not None}
        if len(set(places.values())) > 1:
            got = ", ".join(f"{name} on {place}" for name, place in places.items())
            raise ValueError(f"operands must be on one device, got {got}")

    def _require_shapes(self) -> None:
        for name in ("qweight", "qzeros", "scales"):
            _require(name, getattr(self, name), getattr(self, name).dim() == 2, "two dimensions")
        _require("qweight", self.qweight, 0 not in self.qweight.shape, "rows and columns")
        whole = f"{self.n} columns, which fill no whole words of {self.bits}-bit zero-points"
        if self.n % self.unit:
            raise ValueError(f"qweight must have a multiple of {self.unit} columns, got {whole}")
        _require("scales", self.scales, self.groups > 0, "at least one group")
        words = self.n * self.bits // WORD_BITS
        wanted = {"scales": (self.groups, self.n), "qzeros": (self.groups, words)}
        wanted |= {"g_idx": (self.k,), "bias": (self.n,)}
        for name, shape in wanted.items():
            tensor = getattr(self, name)
            if tensor is not None:
                _require(name, tensor, tensor.shape == shape, f"shape {shape}")
        fits = self.x.dim() > 0 and self.x.shape[-1] == self.k
        _require("x", self.x, fits, f"a last dimension of {self.k}, the rows of the weight")

    def _require_groups(self) -> None:
        if self.g_idx is not None:
            low, high = (int(value) for value in torch.aminmax(self.g_idx))
            if low < 0 or high >= self.groups:
                raise ValueError(f"g_idx must be in 0..{self.groups - 1}, got {low}..{high}")
            return
        if self.group_size is None and self.k % self.groups:
            raise ValueError(
                f"group_size must be given: {self.k} rows do not divide into {self.groups} groups"
            )
        wanted = -(-self.k // self.rows_per_group)
        if self.groups != wanted:
            raise ValueError(
                f"scales and qzeros must have {wanted} rows for {self.k} rows of weights in groups "
                f"of {self.rows_per_group}, got {self.groups}"
            )


def _listed(values, between: str = ", ") -> str:
    return between.join(str(value) for value in values)


def _require(name: str, tensor: torch.Tensor, holds: bool, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{name} must have {wanted}, got shape {tuple(tensor.shape)}")


class GivenOperands(GuardedOperands):
    """Guarded copies of a Problem's operands, each with the strides that it has there."""

    def __init__(self, problem: Problem, device, zones: bool = True):
        self.device = device
        self._zones = zones
        tensors = {"left": problem.x} | {name: getattr(problem, name) for name in TENSORS[1:]}
        self.guarded = {
            name: Guarded.like(tensor.detach(), device, zones)
            for name, tensor in tensors.items()
            if tensor is not None
        }
        size = problem.group_size
        self.options = {
            "bits": problem.bits,
            "group_size": problem.rows_per_group if size is None else size,
            "checkpoint_format": problem.checkpoint_format,
        }
        self.out_shape, self.out_dtype = problem.out_shape, problem.out_dtype

    def output(self) -> Guarded:
        """A poisoned buffer for the result, red zones around it."""
        poison = torch.full(self.out_shape, torch.nan, dtype=self.out_dtype, device="cpu")
        return Guarded.like(poison, self.device, self._zones)
