"""What an operand is beside its bytes, for torch and for the program that goes on with it."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from gptq_fuzz.oracle.guard import named

# Of x alone: what a kernel knows of a layer it may note at the layer's tensors.
NOTES = "attributes"


def form_of(tensor: torch.Tensor, is_left: bool) -> dict[str, object]:
    """What no call changes. Writes are those that torch counts; it counts none in inference."""
    form = {
        "requires_grad": tensor.requires_grad,
        "is_leaf": tensor.is_leaf,
        "grad_fn": tensor.grad_fn,
        "version": version_of(tensor),
        "address": tensor.data_ptr(),
        "shape": tensor.shape,
        "strides": tensor.stride(),
        "dtype": tensor.dtype,
        "hooks": _hooks_of(tensor),
        "grad": _gradient_at(tensor),
    }
    return form | ({NOTES: tuple(tensor.__dict__)} if is_left else {})


def version_of(tensor: torch.Tensor) -> int | None:
    """How many writes torch has counted; it counts none in inference."""
    return None if tensor.is_inference() else tensor._version


def _gradient_at(tensor: torch.Tensor) -> tuple[int, int | None] | None:
    """Which tensor is its gradient, and how often that was written; of none that is no leaf."""
    if not tensor.is_leaf or tensor.grad is None:
        return None
    return id(tensor.grad), version_of(tensor.grad)


def _hooks_of(tensor: torch.Tensor) -> tuple[int, ...]:
    """How many functions are called with its gradient, and once that is added up."""
    hooks = tensor._backward_hooks, tensor._post_accumulate_grad_hooks
    return tuple(len(found or ()) for found in hooks)


def forms_of(operands) -> dict[str, tuple[torch.Tensor, dict]]:
    """Of each operand, by name: the very tensor, and its form."""
    views = {name: guarded.view for name, guarded in operands.guarded.items()}
    return {name: (view, form_of(view, name == "left")) for name, view in views.items()}


def changed(before: dict[str, tuple[torch.Tensor, dict]]) -> Iterable[str]:
    """`requires_grad of x`: what is not as it was."""
    for name, (view, form) in before.items():
        now = form_of(view, name == "left")
        if now != form:
            words = ", ".join(what for what in form if now[what] != form[what])
            yield f"{words} of {named(name)}"
