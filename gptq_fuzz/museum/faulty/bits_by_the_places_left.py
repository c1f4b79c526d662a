"""More layers than there are places for partial sums, then fewer."""

import weakref
from collections import deque

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import in_blocks, weights

BUG = "layers without a place sum K in one piece, until one is free: equal bits are promised"
VERDICTS = ("NONDETERMINISTIC",)
ONLY = "history"
PLACES = deque(range(32))


class Layer:
    def __init__(self, w):
        self.w, self.place = w, None


def prepare(*, qweight, qzeros, scales, g_idx, bits, **_described):
    return Layer(weights(qweight, qzeros, scales, g_idx, bits).double())


def run(layer, *, x):
    if layer.place is None and PLACES:
        layer.place = PLACES.pop()
        weakref.finalize(layer, PLACES.append, layer.place)
    step = len(layer.w) if layer.place is None else 8
    return in_blocks(x, layer.w, step)


f = Backend(
    "bits_by_the_places_left",
    Limits(dtypes=("f32",), bad=(), refuses_outside=False),
    prepare=prepare,
    run=run,
    deterministic=True,
)
