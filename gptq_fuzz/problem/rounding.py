"""Rounding float64 to the formats of kernels, once and to nearest even, on any device.

torch converts float64 to float16 through float32, which rounds twice; the judge must not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch

CACHED = 2**17  # elements that stay in a CPU's cache from one step to the next


@dataclass(frozen=True)
class Format:
    """A binary floating-point format: digits of the significand, smallest normal exponent."""

    torch_dtype: torch.dtype
    digits: int
    smallest_exponent: int
    largest: float

    @property
    def unit_roundoff(self) -> float:
        return 2.0**-self.digits

    @property
    def smallest(self) -> float:
        """The smallest subnormal; half of it is the absolute error of rounding near zero."""
        return 2.0 ** (self.smallest_exponent - self.digits + 1)


F16 = Format(torch.float16, 11, -14, 65504.0)
BF16 = Format(torch.bfloat16, 8, -126, float.fromhex("0x1.fep127"))
F32 = Format(torch.float32, 24, -126, float.fromhex("0x1.fffffep127"))
FORMATS = {"f16": F16, "bf16": BF16, "f32": F32}


def power_of_two(exponent: torch.Tensor) -> torch.Tensor:
    """2^exponent as float64, exact on every device; int64 exponents from -1022 to 1023."""
    return ((exponent + 1023) << 52).view(torch.float64)


def spacing(value: torch.Tensor, fmt: Format) -> torch.Tensor:
    """Distance between neighbours of `fmt` at each float64 value; finite for NaN and infinity."""
    field = (value.contiguous().view(torch.int64) >> 52).bitwise_and_(0x7FF)  # exponent + 1023
    field.clamp_(min=fmt.smallest_exponent + 1023).sub_(fmt.digits - 1)
    return field.bitwise_left_shift_(52).view(torch.float64)


def _in_parts(function: Callable) -> Callable:
    """The same of each element, of a large tensor on a CPU part by part."""

    @functools.wraps(function)
    def of_whole(value: torch.Tensor, *args) -> torch.Tensor:
        if value.numel() <= 2 * CACHED or value.device.type != "cpu":
            return function(value, *args)
        flat = value.reshape(-1)
        found = torch.empty_like(flat)
        for part, into in zip(flat.split(CACHED), found.split(CACHED), strict=True):
            into.copy_(function(part, *args))
        return found.view(value.shape)

    return of_whole


@_in_parts
def last_digit(value: torch.Tensor) -> torch.Tensor:
    """The power of two of the last binary digit set of each float64; infinite for 0.

    0 for NaN and infinities, and for what float64 itself holds as a subnormal.
    """
    bits = value.contiguous().view(torch.int64)
    exponent = bits >> 52 & 0x7FF
    digits = bits & (1 << 52) - 1 | 1 << 52
    lowest = (digits & -digits).double() * 2.0**-52
    step = (exponent.clamp(1, 2046) << 52).view(torch.float64)
    known = torch.where((exponent == 0) | (exponent == 0x7FF), 0.0, step * lowest)
    return torch.where(value == 0, torch.inf, known)


@_in_parts
def round_to(value: torch.Tensor, fmt: Format) -> torch.Tensor:
    """float64 -> the nearest value of `fmt`, ties to even, as float64; too large: infinite."""
    step = spacing(value, fmt)
    rounded = (value / step).round_().mul_(step)
    return torch.where(rounded.abs() > fmt.largest, rounded * torch.inf, rounded)


def truncation_error(value: torch.Tensor, fmt: Format) -> torch.Tensor:
    """The most that one rounding to nearest can move each value: half the spacing there."""
    return spacing(value, fmt) / 2
