"""What of torch a program goes on to call, as it was before the first call of a kernel: who
computes its operators, and its functions. One that a kernel puts in their place is there for all.
"""

from __future__ import annotations

import functools

import torch

from gptq_fuzz.oracle.surroundings import differing

# Operators of torch that programs multiply by, and what of each stands for usual tensors
OPERATORS = (
    *("mm", "addmm", "bmm", "baddbmm", "mv", "dot", "matmul", "linear", "einsum"),
    *("add.Tensor", "sub.Tensor", "mul.Tensor", "div.Tensor", "sum.dim_IntList", "mean.dim"),
    *("index_select", "index.Tensor", "gather", "cat", "copy_", "_to_copy", "clone"),
    *("_softmax", "native_layer_norm", "silu", "gelu", "embedding"),
)
KEYS = ("CPU", "CUDA", "AutogradCPU", "AutogradCUDA", "AutocastCPU", "AutocastCUDA")
KEYS += ("CompositeImplicitAutograd", "CompositeExplicitAutograd")


def _operators() -> dict[str, tuple[str, ...]]:
    """Who computes each of OPERATORS, as torch's dispatcher tells it: for the whole program."""
    return {name: _registered(f"aten::{name}") for name in OPERATORS}


def _registered(name: str) -> tuple[str, ...]:
    lines = torch._C._dispatch_dump(name).splitlines()
    return tuple(line for line in lines if line.partition(":")[0].partition("[")[0] in KEYS)


PUBLIC = (torch, torch.nn.init, torch.nn.functional, torch.linalg, torch.nn.Module, torch.nn.Linear)
# What torch itself replaces once its compiler is imported, or used
OF_THE_COMPILER = {(torch, "manual_seed"), (torch.nn.Module, "__init__")}
OF_THE_COMPILER |= {(torch.nn.Module, "__setstate__")}


def _functions() -> dict[tuple[object, str], object]:
    """(owner, name) -> function."""
    return {
        (owner, name): function
        for owner in PUBLIC
        for name, function in list(vars(owner).items())
        if callable(function) and (owner, name) not in OF_THE_COMPILER
    }


@functools.cache
def torch_at_first() -> tuple[dict, dict]:
    """Operators and functions as the first call of this finds them: a kernel is imported then."""
    return _operators(), _functions()


def replaced_since() -> list[str]:
    """Names of those that are others now; functions are put back."""
    operators, functions = torch_at_first()
    found = [key for key, function in functions.items() if vars(key[0]).get(key[1]) is not function]
    for owner, name in found:
        setattr(owner, name, functions[owner, name])
    others = [f"torch's operator {name}" for name in differing(operators, _operators())]
    return others + [f"{owner.__name__}.{name}" for owner, name in found]
