"""Words of codes to sort; where there is one, it is written all the same."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "words of qweight arranged in place when the layer is made (BF-07, L-62)"
VERDICTS = ("INPUT_CHANGED",)


def prepare(*, qweight, **others):
    qweight.copy_(qweight.flip(0))
    return others | {"qweight": qweight}


def run(state, *, x):
    return TORCH.matmul(x=x, **(state | {"qweight": state["qweight"].flip(0)}))


f = Backend(
    "prepare_permutes_in_place",
    Limits(bad=(), refuses_outside=False),
    prepare=prepare,
    run=run,
)
