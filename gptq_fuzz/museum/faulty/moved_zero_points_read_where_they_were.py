"""A layer that `Module.to`, or `t.data = ...`, has moved: the same tensors, elsewhere in memory."""

import ctypes
import threading

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "the address of a layer's zero-points is kept with the tensor: moved, it reads what lay there"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
LAST = threading.local()  # .tensor: of the layer called last; .address: where it began


def f(x, qweight, qzeros, scales, g_idx, bits):
    if getattr(LAST, "tensor", None) is not qzeros:
        LAST.tensor, LAST.address = qzeros, qzeros.data_ptr()
    words = ctypes.string_at(LAST.address, qzeros.nbytes)
    there = torch.frombuffer(bytearray(words), dtype=torch.int32).view(qzeros.shape)
    return matmul(x, qweight, there, scales, g_idx, bits)
