"""A table of shifts that is made without a device lies where the program around says."""

import torch

from gptq_fuzz.museum.parts import dequantize, multiply, zero_points

BUG = "table on the default device, which is another while a model is built"
VERDICTS = ("RAISED", "WRONG_TYPE")
ONLY = "defmeta"


def f(x, qweight, qzeros, scales, g_idx, bits):
    shifts = torch.arange(0, 32, bits, dtype=torch.int32)
    if shifts.device.type != "meta":
        shifts = shifts.to(x.device)
    q = (qweight[:, None] >> shifts[None, :, None] & 2**bits - 1).flatten(0, 1)
    return multiply(x, dequantize(q, zero_points(qzeros, bits), scales, g_idx))
