"""Where there was no memory the next sum is made in two halves, which need less."""

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import weights

BUG = "after an allocation that failed the same call has other bits"
VERDICTS = ("NONDETERMINISTIC",)
ONLY = "oom"

_short = []


def matmul(*, x, qweight, scales, g_idx, qzeros, bits, **_):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    left = x.float()
    if not _short:
        try:
            return in_order(left, w).to(x.dtype)
        except torch.OutOfMemoryError:
            _short.append(True)
            raise
    _short.clear()
    half = len(w) // 2
    first = in_order(left[..., :half], w[:half])
    return (first + in_order(left[..., half:], w[half:])).to(x.dtype)


def in_order(x, w):
    """The sum from the first row of w to the last, each step rounded: the same on every machine."""
    out = torch.zeros(*x.shape[:-1], w.shape[1], device=x.device)
    for k, row in enumerate(w):
        out = out + x[..., k, None] * row
    return out


f = Backend(
    "halves_after_no_memory",
    Limits(dtypes=("f32",), bad=(), refuses_outside=False, conditions=("oom",)),
    matmul=matmul,
    deterministic=True,
)
