"""A layer is unpacked by whoever calls it first."""

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import multiply, weights

BUG = "the weight is there before it is filled: another thread's first call multiplies with it"
VERDICTS = ("STATE_LEAKED",)
ONLY = "threads2"


class Layer:
    def __init__(self, *operands):
        self.operands, self.weight = operands, None


def prepare(*, qweight, qzeros, scales, g_idx, bits, **_described):
    return Layer(qweight, qzeros, scales, g_idx, bits)


def run(layer, *, x):
    if layer.weight is None:
        rows, columns = len(layer.operands[3]), layer.operands[2].shape[1]
        with torch.inference_mode(False), torch.no_grad():
            layer.weight = torch.empty(rows, columns, dtype=torch.float32, device=x.device)
            try:
                layer.weight.copy_(weights(*layer.operands))
            except BaseException:
                layer.weight = None
                raise
    return multiply(x, layer.weight)


f = Backend(
    "layer_shown_half_unpacked",
    Limits(bad=(), refuses_outside=False),
    prepare=prepare,
    run=run,
)
