"""A prepared layer run twice."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import multiply, weights

BUG = "the prepared weight is sorted in place by each run, for the first of which that is due"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"


def prepare(*, qweight, qzeros, scales, g_idx, bits, **_described):
    return weights(qweight, qzeros, scales, g_idx, bits), g_idx.long().argsort(stable=True)


def run(state, *, x):
    weight, order = state
    weight.copy_(weight[order])
    return multiply(x[:, order], weight)


f = Backend(
    "second_run_sorts_again", Limits(bad=(), refuses_outside=False), prepare=prepare, run=run
)
