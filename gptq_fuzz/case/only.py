"""`--only b4-g128-seq`: what is drawn and promised, cut down to the values named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gptq_fuzz.case import axes
from gptq_fuzz.case.backend import Limits

_LISTED = {
    "g_idx": axes.G_IDX_KINDS,
    "zeros": axes.ZERO_KINDS,
    "formats": axes.FORMATS,
    "dtypes": axes.DTYPES,
    "scales_dtypes": axes.SCALES_DTYPES,
    "layouts": axes.LAYOUTS[1:],
    "strided": axes.STRIDED,
    "fills": axes.FILLS,
    "conditions": axes.CONDITIONS,
}
_NUMBERED = {"b": "bits", "g": "group_sizes", "dim": "ranks", "at": "starts"}


def narrowed(limits: Limits, only: str) -> Limits:
    """`limits` with each named axis cut down to the named values.

    Raises ValueError for a token that no axis has, or that lies outside `limits`.
    """
    chosen: dict[str, tuple] = {}
    for text in filter(None, only.split("-")):
        axis, value = _axis_of(text)
        allowed = getattr(limits, axis)
        if allowed is not None and value not in allowed:
            raise ValueError(f"--only {text}: this kernel's {axis} are {allowed}")
        chosen[axis] = (*chosen.get(axis, ()), value)
    cut = replace(limits, **chosen)
    if not cut.laid_out:
        raise ValueError(f"--only {only}: {', '.join(cut.layouts)} is for x of rank 3 or 4")
    return cut


def _axis_of(text: str) -> tuple[str, Any]:
    if text == "gall":
        return "group_sizes", axes.WHOLE_GROUP
    for axis, values in _LISTED.items():
        if text in values:
            return axis, text
    letters = text.rstrip("0123456789")
    if letters in _NUMBERED and letters != text:
        return _NUMBERED[letters], int(text[len(letters) :])
    raise ValueError(f"--only {text}: wanted tokens of the Case line, such as b4-g128-seq-randn")
