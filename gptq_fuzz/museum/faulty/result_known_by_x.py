"""The same x for another layer of the same shape."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "results are kept by what is in x; whose layer it is for is not looked at"
VERDICTS = ("STATE_LEAKED",)
KEPT = []


def f(x, qweight, qzeros, scales, g_idx, bits):
    for seen, result in KEPT:
        if torch.equal(seen, x) and result.shape[1] == qweight.shape[1]:
            return result.clone()
    KEPT[:] = [*KEPT[-7:], (x.clone(), matmul(x, qweight, qzeros, scales, g_idx, bits))]
    return KEPT[-1][1].clone()
