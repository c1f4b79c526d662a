"""As of a descriptor that is encoded anew for more rows; for fewer its address alone is set."""

import weakref

from gptq_fuzz.museum.parts import matmul, touch

BUG = "a layer's description of x counts the most rows that came: for fewer, more are read"
VERDICTS = ("CRASHED",)
ONLY = "guarded"
BLOCK = 64  # bytes
LAYERS = {}  # id of qweight -> weak reference to it, rows


def most_rows(qweight, rows):
    key = id(qweight)
    seen, most = LAYERS.get(key, (lambda: None, 0))
    if seen() is not qweight or rows > most:
        LAYERS[key] = weakref.ref(qweight, lambda _: LAYERS.pop(key, None)), rows
        return rows
    return most


def f(x, qweight, qzeros, scales, g_idx, bits):
    if len(x) < most_rows(qweight, len(x)):
        touch(x, -(-(x.data_ptr() + x.nbytes) // BLOCK) * BLOCK - x.data_ptr())
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
