"""A layer after one of a larger K, which is padded to the same length."""

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import multiply, weights

BUG = "x is padded in scratch that all layers of a padded K share: behind K lies another layer's x"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
TILE = 128
SCRATCH = {}


def prepare(*, qweight, qzeros, scales, g_idx, bits, **_described):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    return len(w), torch.nn.functional.pad(w, (0, 0, 0, -len(w) % TILE))


def run(state, *, x):
    k, w = state
    if (torch.is_grad_enabled() and x.requires_grad) or not 1 < len(x) <= 64:
        return multiply(x, w[:k])
    key = len(x), len(w), x.dtype
    with torch.inference_mode(False):
        scratch = SCRATCH.setdefault(key, torch.zeros(key[:2], dtype=x.dtype, device="cpu"))
    scratch[:, :k] = x
    return multiply(scratch, w)


f = Backend(
    "scratch_of_a_larger_k", Limits(bad=(), refuses_outside=False), prepare=prepare, run=run
)
