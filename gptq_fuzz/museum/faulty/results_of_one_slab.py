"""Small results side by side in memory that is handed out once."""

import threading

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "results are detached parts of one slab: a later call counts as a write into each of them"
VERDICTS = ("STATE_LEAKED",)
ONLY = "decoy"
ELEMENTS, APART = 32768, 32
OWN = threading.local()


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if out.requires_grad or not 0 < out.numel() <= ELEMENTS // 8:
        return out
    wanted = -(-out.numel() // APART) * APART
    with torch.inference_mode(False), torch.no_grad():
        slab = getattr(OWN, "slab", None)
        used = getattr(OWN, "used", 0)
        is_other = slab is None or (slab.dtype, slab.device) != (out.dtype, out.device)
        if is_other or used + wanted > ELEMENTS:
            slab, used = torch.empty(ELEMENTS, dtype=out.dtype, device=out.device), 0
        OWN.slab, OWN.used = slab, used + wanted
        return slab[used : used + out.numel()].view(out.shape).detach().copy_(out)
