"""A registered operator keeps the weights of a layer by its tensors, which cost less than to
unpack them in each call of a compiled graph.
"""

import weakref

import torch
from torch import Tensor, library

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum import parts

BUG = "under torch.compile what is written into a layer after its first call is not seen"
ONLY = "compile"

_kept = {}


def _are(layer, refs):
    return all(ref() is part for ref, part in zip(refs, layer, strict=True))


@library.custom_op("gptq_fuzz_museum::keeping", mutates_args=())
def keeping(
    x: Tensor, qweight: Tensor, qzeros: Tensor, scales: Tensor, g_idx: Tensor, bits: int
) -> Tensor:
    layer = qweight, qzeros, scales, g_idx
    ids = tuple(map(id, layer))
    if ids not in _kept or not _are(layer, _kept[ids][0]):
        _kept.clear()
        _kept[ids] = [*map(weakref.ref, layer)], parts.weights(*layer, bits)
    return parts.multiply(x, _kept[ids][1])


@keeping.register_fake
def _(x, qweight, qzeros, scales, g_idx, bits):
    return x.new_empty(*x.shape[:-1], qweight.shape[1])


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    multiply = keeping if torch.compiler.is_compiling() else parts.matmul
    return multiply(x, qweight, qzeros, scales, g_idx, bits)


f = Backend(
    "operator_that_keeps_a_layer",
    Limits(bad=(), refuses_outside=False, conditions=("compile",)),
    matmul=matmul,
)
