"""Weights of parts of a tensor, such as experts, are kept until the whole tensor dies."""

from torch.utils.weak import WeakTensorKeyDictionary

from gptq_fuzz.museum.parts import multiply, weights

BUG = "what is kept of a view outlives it: weights of an expert are kept each time it is sliced"
VERDICTS = ("LEAKING",)
ONLY = "memory"

_kept = WeakTensorKeyDictionary()


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if qweight._base is not None:
        _kept.setdefault(qweight._base, {})[id(qweight), len(_kept.get(qweight._base, ()))] = w
    return multiply(x, w)
