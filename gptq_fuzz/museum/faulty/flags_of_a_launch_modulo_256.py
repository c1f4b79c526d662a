"""A flag says whether the partial sums in a layer's scratch memory are those of this launch."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import multiply, weights

BUG = "launches are counted in eight bits: what a layer left 256 launches ago counts as new"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
LAUNCHES = [0]


def prepare(*, qweight, qzeros, scales, g_idx, bits, **_described):
    return {"weight": weights(qweight, qzeros, scales, g_idx, bits), "flag": None, "sums": None}


def run(state, *, x):
    LAUNCHES[0] += 1
    flag = LAUNCHES[0] % 256
    if state["flag"] != flag or state["sums"].shape != (len(x), state["weight"].shape[1]):
        state["flag"], state["sums"] = flag, multiply(x, state["weight"])
    return state["sums"].clone()


f = Backend("f", Limits(bad=(), refuses_outside=False), prepare=prepare, run=run)
