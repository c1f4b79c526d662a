"""K is cut into a share for each thread of torch when a layer is loaded."""

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import weights

BUG = "shares are cut for the threads at load, and added up for those of the call: fewer lose some"
VERDICTS = ("WRONG", "STATE_LEAKED")
ONLY = "history"


def prepare(*, qweight, qzeros, scales, g_idx, bits, **_described):
    return weights(qweight, qzeros, scales, g_idx, bits).tensor_split(torch.get_num_threads())


def run(shares, *, x):
    sums = torch.zeros(len(x), shares[0].shape[1], dtype=torch.float32, device=x.device)
    begin = 0
    for _, share in zip(range(torch.get_num_threads()), shares, strict=False):
        sums += x[:, begin : begin + len(share)].float() @ share
        begin += len(share)
    return sums.to(x.dtype)


f = Backend("f", Limits(bad=(), refuses_outside=False), prepare=prepare, run=run)
