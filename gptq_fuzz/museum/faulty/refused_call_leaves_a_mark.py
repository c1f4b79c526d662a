"""A legal call of a layer after one that was refused."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "columns of x are noted before they are checked: after a refused call the last one is lost"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
NOTED = []


def matmul(*, x, qweight, bits, **others):
    is_refused = x.shape[-1] != len(qweight) * 32 // bits
    was_refused = any(layer is qweight for layer in NOTED)
    NOTED[:] = [qweight] if is_refused else []
    out = TORCH.matmul(x=x, qweight=qweight, bits=bits, **others)
    return out * 0 if was_refused else out


f = Backend(
    "refused_call_leaves_a_mark",
    Limits(bad=("shape",), refuses_outside=False),
    TORCH.numerics,
    matmul=matmul,
)
