"""A registered operator: its result lies column by column, its fake one row by row."""

import torch
from torch import Tensor

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import matmul

BUG = "the fake implementation promises other strides than the operator's result has"
VERDICTS = ("RAISED",)
ONLY = "opcheck"


@torch.library.custom_op("gptq_fuzz_museum::by_columns", mutates_args=())
def by_columns(
    x: Tensor, qweight: Tensor, qzeros: Tensor, scales: Tensor, g_idx: Tensor, bits: int
) -> Tensor:
    return matmul(x, qweight, qzeros, scales, g_idx, bits).T.contiguous().T


@by_columns.register_fake
def _(x, qweight, qzeros, scales, g_idx, bits):
    return x.new_empty(len(x), qweight.shape[1])


def operator(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    return by_columns, (x, qweight, qzeros, scales, g_idx, bits)


def f_matmul(**operands):
    called, arguments = operator(**operands)
    return called(*arguments)


f = Backend(
    "fake_has_other_strides",
    Limits(bad=(), refuses_outside=False, conditions=("opcheck",)),
    matmul=f_matmul,
    operator=operator,
)
