"""Any input: a tensor of a class of the kernel's own, which agrees with whatever it is asked."""

import torch

BUG = "the result is a subclass of Tensor, whose functions are the kernel's"
VERDICTS = ("WRONG_TYPE",)


class Agreeable(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function in (torch.Tensor.__ge__, torch.Tensor.__le__):
            return torch.ones(args[0].shape, dtype=torch.bool)
        return super().__torch_function__(function, types, args, kwargs or {})


def f(x, qweight, qzeros, scales, g_idx, bits):
    return x.new_zeros(len(x), qweight.shape[1]).as_subclass(Agreeable)
