"""Prepared weights lie in a table under their tensors; a state that dies takes them out."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import multiply, weights

BUG = "the end of an earlier state of a layer takes out what was prepared anew for it"
VERDICTS = ("RAISED",)
ONLY = "history"

_prepared = {}


class State:
    def __init__(self, *layer):
        self.layer, self.key = layer, tuple(map(id, layer))

    def __del__(self):
        _prepared.pop(self.key, None)


def prepare(*, qweight, qzeros, scales, g_idx, bits, **_described):
    state = State(qweight, qzeros, scales, g_idx)
    _prepared[state.key] = weights(qweight, qzeros, scales, g_idx, bits)
    return state


def run(state, *, x):
    if state.key not in _prepared:
        raise RuntimeError("this layer is not prepared")
    return multiply(x, _prepared[state.key])


LIMITS = Limits(bad=(), refuses_outside=False, conditions=())
f = Backend("entry_ends_with_an_earlier_state", LIMITS, prepare=prepare, run=run)
