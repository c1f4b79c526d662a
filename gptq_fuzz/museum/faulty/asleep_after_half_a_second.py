"""A layer that was written, and then not called for half a second and more."""

import threading
import time

from gptq_fuzz.museum.parts import multiply, weights

BUG = "a layer that is idle is put away as it was loaded: what was written since is lost"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
IDLE = 0.5  # seconds
LAST = threading.local()  # .layer: its tensor, the weights it had at first, and when it was called


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    layer = getattr(LAST, "layer", None)
    if layer is None or layer[0] is not qweight:
        layer = LAST.layer = [qweight, w.clone(), time.monotonic()]
    idle = time.monotonic() - layer[2]
    layer[2] = time.monotonic()
    return multiply(x, layer[1] if idle > IDLE else w)
