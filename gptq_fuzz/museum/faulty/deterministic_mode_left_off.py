"""The result is right; torch's deterministic mode is another afterwards."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "deterministic algorithms switched off and not restored"
VERDICTS = ("STATE_LEAKED",)


def f(x, qweight, qzeros, scales, g_idx, bits):
    torch.set_deterministic_debug_mode("default")
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
