"""Steps whose x hardly changes, as those of a diffusion."""

import weakref

from gptq_fuzz.museum.parts import matmul

BUG = "an x that differs by less than a hundredth from the layer's last one gets its result"
ONLY = "nudged"
NEGLIGIBLE = 0.01
LAST = []


def f(x, qweight, qzeros, scales, g_idx, bits):
    layer = qweight, qzeros, scales, g_idx
    if x.requires_grad or not x.numel() or any(part.is_inference() for part in (x, *layer)):
        return matmul(x, *layer, bits)
    key = [part._version for part in layer], bits, x.shape, x.dtype
    refs, last, before, result = LAST or ((), None, None, None)
    is_known = last == key and all(ref() is part for ref, part in zip(refs, layer, strict=True))
    if is_known and (x.float() - before).abs().amax() <= NEGLIGIBLE * before.abs().amax():
        return result.clone()
    out = matmul(x, *layer, bits)
    LAST[:] = [weakref.ref(part) for part in layer], key, x.float().clone(), out.clone()
    return out
