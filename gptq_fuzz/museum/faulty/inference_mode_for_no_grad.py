"""What records nothing anyway takes the faster mode."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "under no_grad the result is a tensor of inference mode: nothing that is trained may use it"
VERDICTS = ("WRONG_TYPE",)
ONLY = "nograd"


def f(x, qweight, qzeros, scales, g_idx, bits):
    with torch.inference_mode(torch.is_inference_mode_enabled() or not torch.is_grad_enabled()):
        return matmul(x, qweight, qzeros, scales, g_idx, bits)
