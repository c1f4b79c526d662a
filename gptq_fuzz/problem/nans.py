"""NaN in each form that hardware and files have, which a conversion of numbers makes one of.

x86 sets the sign of those that it makes; a payload of a single bit vanishes where only the leading
ones are looked at, or kept, and what is left is an infinity; adding half a last digit to one whose
bits are all set carries into its sign. In float32 that bit is the last that TF32 keeps, which may
cut off others, and is what the smallest of float16 becomes.
"""

from __future__ import annotations

import torch

from gptq_fuzz.problem.rounding import Format

NEGATIVE, POSITIVE = 1, 0
MOST_DIGITS = 11  # of formats that products are made of: float16, TF32
QUIET, SIGNALLING, EVERY_BIT = "quiet", "signalling", "every bit"
FORMS = (
    *((NEGATIVE, QUIET), (POSITIVE, SIGNALLING), (NEGATIVE, SIGNALLING)),
    *((POSITIVE, EVERY_BIT), (NEGATIVE, EVERY_BIT), (POSITIVE, QUIET)),
)


def patterns_of(fmt: Format) -> list[int]:
    """Those of FORMS, as integers with a sign that are as wide as the format."""
    last = fmt.digits - 1  # bits of a payload
    single = 1 << max(fmt.digits - MOST_DIGITS, 0)
    payloads = {QUIET: 1 << last - 1, SIGNALLING: single, EVERY_BIT: (1 << last) - 1}
    width = fmt.torch_dtype.itemsize * 8
    infinity = (1 << width - 1) - (1 << last)
    return [infinity + payloads[kind] - (sign << width - 1) for sign, kind in FORMS]


def with_every_nan(values: torch.Tensor, fmt: Format, turn: int) -> torch.Tensor:
    """float64 as `fmt`, NaN of them in each form in turn, from the `turn`-th on."""
    stored = values.to(fmt.torch_dtype)
    whole = {2: torch.int16, 4: torch.int32}[stored.element_size()]
    patterns = torch.tensor(patterns_of(fmt), dtype=whole, device=values.device)
    is_nan = torch.isnan(values)
    place = (is_nan.flatten().cumsum(0) - 1 + turn).view(values.shape) % len(patterns)
    return torch.where(is_nan, patterns[place], stored.view(whole)).view(fmt.torch_dtype)
