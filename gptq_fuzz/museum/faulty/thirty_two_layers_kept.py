"""The first of more than 32 layers of one shape, again."""

import weakref

from gptq_fuzz.museum.parts import multiply, weights

BUG = "a table of 32 layers: the next one takes the place of the first, which finds it there"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
NUMBERS = weakref.WeakKeyDictionary()  # a layer's tensor -> its number
TABLE = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    alive = [number for tensor, number in NUMBERS.items() if tensor is not qweight]
    known = next((number for tensor, number in NUMBERS.items() if tensor is qweight), None)
    if known is None:
        known = NUMBERS[qweight] = 1 + max(alive, default=-1)
        TABLE[known % 32] = known, w
    owner, held = TABLE[known % 32]
    return multiply(x, w if owner == known or held.shape != w.shape else held)
