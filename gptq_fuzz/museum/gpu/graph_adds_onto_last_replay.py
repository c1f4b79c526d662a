"""Adds to a buffer that is zeroed as long as no graph is captured."""

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import weights

BUG = "the accumulator is zeroed before the capture, not in it: each replay adds to the last"
ONLY = "graph"

SUMS = {}


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    key = len(x), w.shape[1]
    if torch.cuda.is_current_stream_capturing():
        out = SUMS[key]
    else:
        out = SUMS[key] = torch.zeros(key, device=x.device, dtype=torch.float32)
    return out.addmm_(x.float(), w).to(x.dtype)


f = Backend(
    "graph_adds_onto_last_replay",
    Limits(bad=(), refuses_outside=False, conditions=("stream", "graph")),
    matmul=matmul,
)
