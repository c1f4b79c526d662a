"""Right for weights at new addresses; the cached tensors stay alive, so none is used twice."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "weight cached by address and shape: a checkpoint loaded in place is not seen (B-22)"
VERDICTS = ("STATE_LEAKED",)
ONLY = "reloaded"
_CACHE = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    key = qweight.data_ptr(), qweight.shape, bits
    if key not in _CACHE:
        _CACHE[key] = weights(qweight, qzeros, scales, g_idx, bits), qweight
    return multiply(x, _CACHE[key][0])
