"""Functions that a kernel leaves as they are: those that a judge relies on, as they were before any
kernel was imported, and those of torch that a program goes on to call, as they were before the
first call of a kernel.

A kernel shares its process with the judge and with the program. One that replaces what compares its
results, when it is imported or when it is called, is found out by the identity of these; so is one
that puts something of its own in the place of what others use.
"""

from __future__ import annotations

import functools

import torch

from gptq_fuzz.oracle import judge
from gptq_fuzz.problem import layouts, rounding

OF_TENSORS = (
    *("__ge__", "__le__", "__eq__", "__and__", "__or__", "__invert__", "__getitem__"),
    *("abs", "all", "any", "copy_", "double", "sum", "to", "view"),
)
OF_TORCH = ("equal", "isfinite", "isnan", "stack", "where", "zeros", "zeros_like")
OWNERS = (judge, judge.Expected, judge.Mismatch, layouts.Guarded, rounding)


def _functions() -> dict[tuple[object, str], object]:
    """(owner, name) -> function."""
    named = [(torch.Tensor, name) for name in OF_TENSORS] + [(torch, name) for name in OF_TORCH]
    for owner in OWNERS:
        named += [(owner, name) for name, value in vars(owner).items() if callable(value)]
    return {(owner, name): getattr(owner, name) for owner, name in named}


TRUSTED = _functions()


def replaced() -> list[str]:
    """Names of those that are others now; they are put back."""
    found = [key for key, function in TRUSTED.items() if getattr(*key, None) is not function]
    for owner, name in found:
        setattr(owner, name, TRUSTED[owner, name])
    return [f"{owner.__name__}.{name}" for owner, name in found]


PUBLIC = (torch, torch.nn.init, torch.nn.functional, torch.linalg, torch.nn.Module, torch.nn.Linear)
# What torch itself replaces once its compiler is imported, or used
OF_THE_COMPILER = {(torch, "manual_seed"), (torch.nn.Module, "__init__")}
OF_THE_COMPILER |= {(torch.nn.Module, "__setstate__")}


@functools.cache
def public_at_first() -> dict[tuple[object, str], object]:
    """(owner, name) -> function, as the first call of this finds it: a kernel is imported then."""
    return {
        (owner, name): function
        for owner in PUBLIC
        for name, function in list(vars(owner).items())
        if callable(function) and (owner, name) not in OF_THE_COMPILER
    }


def public_replaced() -> list[str]:
    """Names of those that are others now; they are put back."""
    at_first = public_at_first()
    found = [key for key, function in at_first.items() if vars(key[0]).get(key[1]) is not function]
    for owner, name in found:
        setattr(owner, name, at_first[owner, name])
    return [f"{owner.__name__}.{name}" for owner, name in found]
