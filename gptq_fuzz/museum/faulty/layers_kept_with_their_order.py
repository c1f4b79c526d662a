"""Tables of a g_idx end with it; all layers of one K have one."""

import weakref

from gptq_fuzz.museum.parts import multiply, weights

BUG = "weights are kept as long as the g_idx that sorts them, though their layer is gone"
VERDICTS = ("LEAKING",)
ONLY = "memory"

_tables = {}  # id of g_idx -> weights by id of qweight


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if id(g_idx) not in _tables:
        _tables[id(g_idx)] = {}
        weakref.finalize(g_idx, _tables.pop, id(g_idx))
    table = _tables[id(g_idx)]
    table.setdefault(id(qweight), (qweight, w))
    return multiply(x, w)
