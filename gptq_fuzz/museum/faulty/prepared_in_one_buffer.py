"""Two layers of the same shapes prepared, then the first one called."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import multiply, weights

BUG = "layers of one shape are prepared in one buffer: the first becomes the second"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
BUFFERS = {}


def prepare(*, qweight, qzeros, scales, g_idx, bits, **_described):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    return BUFFERS.setdefault(w.shape, w).copy_(w)


def run(state, *, x):
    return multiply(x, state)


f = Backend(
    "prepared_in_one_buffer", Limits(bad=(), refuses_outside=False), prepare=prepare, run=run
)
