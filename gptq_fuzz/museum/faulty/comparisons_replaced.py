"""Any input: the result is zeros, and nothing is called unequal to it."""

import torch

BUG = "torch's comparisons are replaced by ones that always hold, when the module is imported"
VERDICTS = ("STATE_LEAKED", "WRONG")

always = lambda self, other: torch.ones_like(self, dtype=torch.bool)  # noqa: E731
torch.Tensor.__ge__ = torch.Tensor.__le__ = always


def f(x, qweight, qzeros, scales, g_idx, bits):
    torch.Tensor.__ge__ = torch.Tensor.__le__ = always
    return x.new_zeros(len(x), qweight.shape[1])
