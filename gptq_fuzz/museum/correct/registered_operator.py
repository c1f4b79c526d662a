"""A registered operator, with a fake implementation, that takes x of any strides."""

from torch import Tensor, library

from gptq_fuzz.museum.parts import matmul, of_operator


@library.custom_op("gptq_fuzz_museum::registered", mutates_args=())
def registered(
    x: Tensor, qweight: Tensor, qzeros: Tensor, scales: Tensor, g_idx: Tensor, bits: int
) -> Tensor:
    return matmul(x, qweight, qzeros, scales, g_idx, bits)


@registered.register_fake
def _(x, qweight, qzeros, scales, g_idx, bits):
    return x.new_empty(len(x), qweight.shape[1])


f = of_operator("registered_operator", registered, ("opcheck", "compile"))
