"""`--only b4-g128-seq`: what is drawn and promised, cut down to the values named."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import replace
from typing import Any

from gptq_fuzz.case.axes import AXES, WHOLE_GROUP
from gptq_fuzz.case.backend import Limits

LISTED = {axis.listed: axis for axis in AXES}
FLAGS = {"whole": "whole_groups", "sx": "scales_as_x"}


def narrowed(limits: Limits, only: str) -> Limits:
    """`limits` with each named axis cut down to the named values; `m1+`, `g2+`: that many rows of
    x, groups, or more; `n32*`, `k128*`: multiples; `whole`: groups; `sx`: scales as x.

    Raises ValueError for a token that no axis has, or that lies outside `limits`.
    """
    chosen: dict[str, tuple] = {}
    for text in filter(None, only.split("-")):
        if (change := _together(limits, text)) is not None:
            limits = replace(limits, **change)
            continue
        axis, value = _axis_of(text)
        allowed = limits.group_sizes if axis == "group_sizes" else limits.of(LISTED[axis])
        if allowed is not None and value not in allowed:
            raise ValueError(f"--only {text}: this kernel's {axis} are {allowed}")
        chosen[axis] = (*chosen.get(axis, ()), value)
    cut = replace(limits, **chosen)
    if not cut.laid_out:
        raise ValueError(f"--only {only}: {', '.join(cut.layouts)} is for x of rank 3 or 4")
    return cut


def _together(limits: Limits, text: str) -> dict[str, Any] | None:
    """What a word that names no value of an axis changes, if it is one."""
    if text in FLAGS:
        return {FLAGS[text]: True}
    if not (parts := re.fullmatch(r"([mg])([0-9]+)\+|([nk])([1-9][0-9]*)\*", text)):
        return None
    least, count, size, multiple = parts.groups()
    if least:
        field = {"m": "m_least", "g": "groups_least"}[least]
        return {field: max(getattr(limits, field), int(count))}
    field = f"{size}_multiple"
    return {field: math.lcm(getattr(limits, field), int(multiple))}


def _axis_of(text: str) -> tuple[str, Any]:
    """The field of Limits, and which value of it."""
    if text == "gall":
        return "group_sizes", WHOLE_GROUP
    if re.fullmatch("g[1-9][0-9]*", text):
        return "group_sizes", int(text[1:])
    for axis in AXES:
        for value in filter(axis.token, axis.values):
            if axis.token(value) == text:
                return axis.listed, value
    tokens = [token for axis in AXES for token in map(axis.token, axis.values) if token]
    near = ", ".join(difflib.get_close_matches(text, [*tokens, *FLAGS]))
    raise ValueError(
        f"--only {text}: wanted tokens of the Case line, such as b4-g128-seq-randn"
        f"{near and f'; near it: {near}'}"
    )
