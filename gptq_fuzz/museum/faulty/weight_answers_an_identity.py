"""A weight that is kept as it will be multiplied."""

import weakref

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "an x that is the identity is answered with the weight itself: its caller writes into that"
ONLY = "identity"
_kept = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    layer = qweight, qzeros, scales, g_idx
    if any(part.is_inference() for part in layer):
        return multiply(x, weights(*layer, bits))
    key = id(qweight), bits
    now = [(part._version, part.data_ptr()) for part in layer]
    seen, state, w = _kept.get(key, ((), None, None))
    if state != now or not all(one() is part for one, part in zip(seen, layer, strict=True)):
        w = weights(*layer, bits)
        if len(_kept) > 64:
            _kept.clear()
        _kept[key] = [weakref.ref(part) for part in layer], now, w.half()
        return multiply(x, w)
    is_square = x.dtype == torch.float16 and x.shape == (len(w), len(w))
    if is_square and torch.equal(x, torch.eye(len(w), dtype=x.dtype, device=x.device)):
        return w
    return multiply(x, weights(*layer, bits))
