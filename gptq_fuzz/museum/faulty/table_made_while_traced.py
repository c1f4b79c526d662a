"""A registered operator and its fake implementation share a table of shifts for each width."""

import torch
from torch import Tensor, library

from gptq_fuzz.museum.parts import dequantize, multiply, of_operator, zero_points

BUG = "what the fake implementation made first is a tensor without data, which later calls use too"
VERDICTS = ("RAISED",)
ONLY = "compile"

_shifts = {}


def shifts_of(qweight, bits):
    if (len(qweight), bits) not in _shifts:
        with torch.inference_mode(False):
            _shifts[len(qweight), bits] = torch.arange(0, 32, bits, device=qweight.device)
    return _shifts[len(qweight), bits]


@library.custom_op("gptq_fuzz_museum::of_a_table", mutates_args=())
def of_a_table(
    x: Tensor, qweight: Tensor, qzeros: Tensor, scales: Tensor, g_idx: Tensor, bits: int
) -> Tensor:
    fields = qweight[:, None, :] >> shifts_of(qweight, bits)[:, None] & 2**bits - 1
    zeros = zero_points(qzeros, bits)
    return multiply(x, dequantize(fields.flatten(0, 1), zeros, scales, g_idx))


@of_a_table.register_fake
def _(x, qweight, qzeros, scales, g_idx, bits):
    rows = len(qweight) * len(shifts_of(qweight, bits))
    torch._check(x.shape[-1] == rows)
    return x.new_empty(*x.shape[:-1], qweight.shape[1])


f = of_operator("table_made_while_traced", of_a_table, ("compile",))
