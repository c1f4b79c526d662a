"""Three layers have one x, which is brought into their form once."""

from torch.utils.weak import WeakTensorKeyDictionary

from gptq_fuzz.museum.parts import multiply, weights

BUG = "a copy of x in float32 lives as long as x: who holds activations holds three times as much"
VERDICTS = ("LEAKING",)
ONLY = "memory"
SMALLEST = (2, 4, 4)  # m, n, k

_copies = WeakTensorKeyDictionary()


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if not (x.requires_grad or x.is_inference()):
        version, _ = _copies.get(x, (None, None))
        if version != x._version:
            _copies[x] = x._version, x.float()
    return multiply(x, w)
