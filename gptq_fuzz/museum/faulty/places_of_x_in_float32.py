"""A prompt with more elements than a float32 counts."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "the place of an element of x is computed in float32: odd ones behind 2^24 become even"
ONLY = "crossings"
SMALLEST = (4099, 4, 4096)  # m, n, k
EXACT = 2**24


def f(x, qweight, qzeros, scales, g_idx, bits):
    if x.numel() > EXACT:
        flat = x.reshape(-1)
        place = torch.arange(EXACT, len(flat), device=x.device).float().long()
        late = flat[place.clamp(max=len(flat) - 1)]
        x = torch.cat((flat[:EXACT], late)).view(x.shape)
    return multiply(x, weights(qweight, qzeros, scales, g_idx, bits))
