"""A call after a gradient, of a layer as wide as it is high: training beside a frozen layer."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import multiply, weights

BUG = (
    "one weight for both directions, turned where its shape asks for it: a square one's never does"
)
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
LAST = []  # tensors of the layer met last, their versions, its weight as the last call wanted it


def _weight(shape, is_turned, qweight, qzeros, scales, g_idx, bits):
    parts = qweight, qzeros, scales, g_idx
    known = not any(part.is_inference() for part in parts) and [part._version for part in parts]
    is_new = not LAST or not known or LAST[1] != known
    if is_new or any(map(lambda mine, kept: mine is not kept, parts, LAST[0])):
        weight = weights(*parts, bits)
        LAST[:] = parts, known, weight.T if is_turned else weight
    elif LAST[2].shape != shape:
        LAST[2] = LAST[2].T
    return LAST[2]


def matmul(*, x, bias, group_size, checkpoint_format, **layer):
    shape = x.shape[-1], layer["scales"].shape[1]
    return multiply(x, _weight(shape, False, **layer))


def gradient(*, grad, bias, group_size, checkpoint_format, **layer):
    shape = grad.shape[-1], len(layer["g_idx"])
    return multiply(grad, _weight(shape, True, **layer))


f = Backend(
    "f", Limits(backward=True, bad=(), refuses_outside=False), matmul=matmul, gradient=gradient
)
