"""A path of its own where no gradient can be asked for counts vectors of two rows as rows."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "under no_grad half of the sum is left out"
VERDICTS = ("WRONG", "STATE_LEAKED")


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if not (torch.is_grad_enabled() or torch.is_inference_mode_enabled()):
        x, w = x[:, : len(w) // 2], w[: len(w) // 2]
    return multiply(x, w)
