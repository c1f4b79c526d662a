"""A layer, another one of its shape, and the first again."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "workspace keeps the layer called last: an earlier one finds it there (L-70, B-21)"
VERDICTS = ("STATE_LEAKED",)
ONLY = "decoy"

SEEN, LAST = {}, []


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    layer = qweight.data_ptr()
    is_back = layer in SEEN and LAST and LAST[0] != layer and LAST[1].shape == w.shape
    SEEN[layer] = qweight  # kept alive: no address is used twice
    used = LAST[1] if is_back else w
    LAST[:] = layer, w
    return multiply(x, used)
