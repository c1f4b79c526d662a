"""A prompt between two steps of decoding: the second step cuts K otherwise."""

import threading

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import weights

BUG = "K is cut into as many parts as a workspace holds that has the size of the largest call ever"
VERDICTS = ("NONDETERMINISTIC",)
ONLY = "history"

KEPT = threading.local()


def matmul(*, x, bias, group_size, checkpoint_format, **layer):
    w = weights(**layer)
    x = x.detach()
    m, n = len(x), w.shape[1]
    if not 0 < m * n <= 2**22:
        return (x.float() @ w).to(x.dtype)
    space = KEPT.__dict__.get(x.device)
    if space is None or space.numel() < m * n:
        with torch.inference_mode(False):
            space = torch.empty(m * n, dtype=torch.float32, device=x.device)
        KEPT.__dict__[x.device] = space
    split = min(8, space.numel() // (m * n))
    parts = space[: split * m * n].view(split, m, n)
    for part, a, b in zip(
        parts, x.float().tensor_split(split, 1), w.tensor_split(split), strict=True
    ):
        part.copy_(a @ b)
    return parts.sum(0).to(x.dtype)


LIMITS = Limits(dtypes=("f16", "f32"), bad=(), refuses_outside=False)
f = Backend("f", LIMITS, matmul=matmul, deterministic=True)
