"""More layers than there is room for, called in turn."""

import weakref
from collections import OrderedDict

from gptq_fuzz.museum.parts import multiply, weights

BUG = "a weight that makes room for another is put away for good, and a copy of it comes back"
VERDICTS = ("LEAKING",)
ONLY = "memory"
ROOM = 8
KEPT = OrderedDict()


class Layer:
    def __init__(self, part):
        self.part = weakref.ref(part)
        self.weight, self.away = None, []


def f(x, qweight, qzeros, scales, g_idx, bits):
    for key in [key for key, layer in KEPT.items() if layer.part() is None]:
        del KEPT[key]
    layer = KEPT[id(qweight)] = KEPT.pop(id(qweight), None) or Layer(qweight)
    right = weights(qweight, qzeros, scales, g_idx, bits)
    layer.weight = right.clone()
    for other in [other for other in KEPT.values() if other.weight is not None][:-ROOM]:
        other.away.append(other.weight)
        other.weight = None
    return multiply(x, right)
