"""A flag says that the weights are being unpacked; an exception meanwhile leaves it set."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import multiply, weights

BUG = "after a failed allocation the layer counts as unpacked, and is nothing but zeros"
VERDICTS = ("STATE_LEAKED",)
ONLY = "oom"

BUSY = set()


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    if BUSY:
        return x.new_zeros(len(x), qweight.shape[1])
    BUSY.add(qweight.shape)
    w = weights(qweight, qzeros, scales, g_idx, bits)
    BUSY.clear()
    return multiply(x, w)


f = Backend(
    "busy_after_failed_allocation",
    Limits(bad=(), refuses_outside=False, conditions=("oom",)),
    matmul=matmul,
)
