"""A registered operator: its result has the dtype of x, its fake one float32."""

import torch
from torch import Tensor, library

from gptq_fuzz.museum.parts import matmul, of_operator

BUG = "the fake implementation promises another dtype than the operator's result has"
VERDICTS = ("RAISED",)
ONLY = "opcheck"


@library.custom_op("gptq_fuzz_museum::of_two_dtypes", mutates_args=())
def of_two_dtypes(
    x: Tensor, qweight: Tensor, qzeros: Tensor, scales: Tensor, g_idx: Tensor, bits: int
) -> Tensor:
    return matmul(x, qweight, qzeros, scales, g_idx, bits)


@of_two_dtypes.register_fake
def _(x, qweight, qzeros, scales, g_idx, bits):
    return x.new_empty(len(x), qweight.shape[1], dtype=torch.float32)


f = of_operator("fake_has_another_dtype", of_two_dtypes, ("opcheck",))
