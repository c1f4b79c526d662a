"""A scratch is leased until the lease dies, which it does with the frame of the call."""

import threading

from gptq_fuzz.museum.parts import multiply, weights

BUG = "the scratch of a call that raised is in use for as long as its caller holds the exception"
VERDICTS = ("RAISED",)
ONLY = "history"

_here = threading.local()


class Lease:
    def __init__(self):
        if getattr(_here, "is_leased", False):
            raise RuntimeError("the scratch is in use")
        self.is_mine = _here.is_leased = True

    def __del__(self):
        if hasattr(self, "is_mine"):
            _here.is_leased = False


def f(x, qweight, qzeros, scales, g_idx, bits):
    lease = Lease()
    out = multiply(x, weights(qweight, qzeros, scales, g_idx, bits))
    del lease
    return out
