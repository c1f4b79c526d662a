"""A gradient, a write into the layer, and a gradient again."""

import dataclasses
import weakref

from gptq_fuzz.museum.parts import TORCH

BUG = "what the gradient needs of a layer is kept by identity: after a write it is that of before"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
KEPT = {}  # identity of qweight -> a weak reference to it, copies of the operands


def gradient(*, grad, **weights):
    key = id(weights["qweight"])
    if key not in KEPT:
        gone = weakref.ref(weights["qweight"], lambda _gone: KEPT.pop(key, None))
        tensors = ("qweight", "qzeros", "scales")
        KEPT[key] = gone, {name: weights[name].clone() for name in tensors}
    return TORCH.gradient(grad=grad, **weights | KEPT[key][1])


f = dataclasses.replace(
    TORCH,
    name="gradient_of_a_layer_before_it_was_written",
    gradient=gradient,
)
