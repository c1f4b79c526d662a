"""Rows of hidden states, each view of which is another object: they are known by what they show."""

import weakref

from gptq_fuzz.museum.parts import matmul, weights

BUG = "x turned once is known by its base, offset, shape and version: every second row as the first"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
LAST = []  # one: a weak reference to the base, what else x is known by, x turned [K, M]


def f(x, qweight, qzeros, scales, g_idx, bits):
    if x.requires_grad or x.is_inference():  # which have a graph, or no version
        return matmul(x, qweight, qzeros, scales, g_idx, bits)
    base = x if x._base is None else x._base
    known = base.data_ptr(), x.storage_offset(), x.shape, x.dtype, x._version
    seen, before, turned = LAST[0] if LAST else (lambda: None, (), None)
    if seen() is not base or before != known:
        turned = x.float().t().contiguous()
        LAST[:] = [(weakref.ref(base), known, turned)]
    w = weights(qweight, qzeros, scales, g_idx, bits)
    return (w.t() @ turned).t().to(x.dtype).contiguous()
