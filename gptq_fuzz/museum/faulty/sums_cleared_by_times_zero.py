"""A layer called with x that holds NaN, then with x that does not."""

import threading
import weakref

import torch

from gptq_fuzz.museum.parts import weights

BUG = "sums of the last call are times 0 before those of the next are added: NaN stays for ever"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
KEPT = threading.local()  # .sums: identity of qweight -> a weak reference, version, sums of a call


def f(x, qweight, qzeros, scales, g_idx, bits):
    products = x.detach().float() @ weights(qweight, qzeros, scales, g_idx, bits)
    kept, key = KEPT.__dict__.setdefault("sums", {}), id(qweight)
    version = None if qweight.is_inference() else qweight._version
    _, noted, sums = kept.get(key, (None, None, None))
    if sums is None or noted != version or sums.shape != products.shape:
        with torch.inference_mode(False):
            reference = weakref.ref(qweight, lambda _gone: kept.pop(key, None))
            sums = torch.zeros(products.shape, dtype=torch.float32, device=x.device)
        kept[key] = reference, version, sums
    sums.mul_(0).add_(products)
    return sums.to(x.dtype)
