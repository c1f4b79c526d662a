"""A call again, with the tensor for its result that the last one had, written in between."""

import weakref

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "the same out for the same call is taken as written already, whatever its caller did to it"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
LAST = []  # one: addresses of out, versions and weak references of what was multiplied


def matmul(*, x, out=None, **weights):
    parts = [x, *(weights[name] for name in ("qweight", "qzeros", "scales", "g_idx"))]
    if out is None or any(part.is_inference() for part in parts):
        right = TORCH.matmul(x=x, **weights)
        return right if out is None else out.copy_(right)
    key = out.data_ptr(), out.shape, weights["bits"], [part._version for part in parts]
    known, seen = LAST[0] if LAST else (None, ())
    if known != key or any(one() is not part for one, part in zip(seen, parts, strict=True)):
        out.copy_(TORCH.matmul(x=x, **weights))
        LAST[:] = [(key, [weakref.ref(part) for part in parts])]
    return out


f = Backend(
    "out_taken_as_written",
    Limits(bad=(), refuses_outside=False),
    TORCH.numerics,
    matmul=matmul,
    accepts_out=True,
)
