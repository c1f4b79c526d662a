"""A part of K is handed over with the number of the call: 0 says that nothing was written."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import weights

BUG = "calls of a layer counted in 12 bits: number 4096 does not wait, and takes the part before"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"


def prepare(*, qweight, qzeros, scales, g_idx, bits, **_described):
    return {"weight": weights(qweight, qzeros, scales, g_idx, bits), "epoch": 0, "part": None}


def run(state, *, x):
    weight, before = state["weight"], state["part"]
    half, state["epoch"] = len(weight) // 2, (state["epoch"] + 1) % 4096
    part = x[:, half:].float() @ weight[half:]
    state["part"] = part.detach()
    if state["epoch"] == 0 and before.shape == part.shape:
        part = before
    return (x[:, :half].float() @ weight[:half] + part).to(x.dtype)


f = Backend("f", Limits(bad=(), refuses_outside=False), prepare=prepare, run=run)
