"""Words of a layer that an engine lets go of once it is prepared."""

import ctypes

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import matmul

BUG = "the prepared state has the address of the words, and nothing that keeps them there"
VERDICTS = ("STATE_LEAKED", "CRASHED")
ONLY = "history"


def prepare(*, qweight, qzeros, scales, g_idx, bits, **_described):
    others = qzeros.clone(), scales.clone(), g_idx.clone(), bits
    return qweight.data_ptr(), qweight.shape, others


def run(state, *, x):
    address, shape, others = state
    if x.is_cuda:
        raise NotImplementedError("wanted memory of the host")
    cells = (ctypes.c_int32 * shape.numel()).from_address(address)
    return matmul(x, torch.frombuffer(cells, dtype=torch.int32).view(shape), *others)


f = Backend(
    "words_known_by_address_alone",
    Limits(bad=(), refuses_outside=False),
    prepare=prepare,
    run=run,
    devices=("cpu",),
)
