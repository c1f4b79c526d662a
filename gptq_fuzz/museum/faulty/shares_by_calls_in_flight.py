"""K is cut in two where no other call is in flight, whose threads could not help."""

import threading

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import in_blocks, weights

BUG = "the order of a sum depends on calls of other threads, the same bits are promised"
VERDICTS = ("NONDETERMINISTIC",)
SMALLEST = (1, 4, 12)  # m, n, k: more than one block
ONLY = "threads2"

_in_flight, _counted = [], threading.Lock()


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    with _counted:
        _in_flight.append(None)
        step = 8 if len(_in_flight) == 1 else len(g_idx)
    try:
        w = weights(qweight, qzeros, scales, g_idx, bits).double()
        return in_blocks(x, w, step)
    finally:
        with _counted:
            _in_flight.pop()


LIMITS = Limits(dtypes=("f32",), bad=(), refuses_outside=False, conditions=("threads2",))
f = Backend("shares_by_calls_in_flight", LIMITS, matmul=matmul, deterministic=True)
