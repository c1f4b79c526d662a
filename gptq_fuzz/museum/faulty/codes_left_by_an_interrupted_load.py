"""A layer loaded after the loading of another one was interrupted."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "codes are laid aside while a layer is prepared: after an interrupt the next one takes them"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
ASIDE = []


def prepare(*, qweight, qzeros, scales, g_idx, bits, **_described):
    ASIDE.append(codes(qweight, bits))
    mine = next(q for q in ASIDE if q.shape == ASIDE[-1].shape)
    weight = dequantize(mine, zero_points(qzeros, bits), scales, g_idx)
    ASIDE.clear()
    return weight


def run(state, *, x):
    return multiply(x, state)


f = Backend(
    "codes_left_by_an_interrupted_load",
    Limits(bad=(), refuses_outside=False),
    prepare=prepare,
    run=run,
)
