"""A layer whose zero-points are stored the v1 way, then the v2 way."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH, of_first_call

BUG = "checkpoint format of a layer kept from its first call (PK-04)"
ONLY = "other format"

FORMAT = {}


def matmul(*, qweight, checkpoint_format, **others):
    kept = of_first_call(FORMAT, qweight, checkpoint_format)
    return TORCH.matmul(qweight=qweight, checkpoint_format=kept, **others)


f = Backend(
    "format_of_first_call",
    Limits(formats=("v1", "v2"), bad=(), refuses_outside=False),
    matmul=matmul,
)
