"""Where x asks for its gradient the product is computed transposed, in a Function of autograd."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "the result is a view that was made in a Function: its caller cannot add to it in place"
VERDICTS = ("WRONG_TYPE",)
ONLY = "grad"


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(w)
        return (w.t() @ x.float().t()).to(x.dtype).t()

    @staticmethod
    def backward(ctx, grad):
        return multiply(grad, ctx.saved_tensors[0].t()), None


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    is_asked = torch.is_grad_enabled() and x.requires_grad
    return Product.apply(x, w) if is_asked else multiply(x, w)
