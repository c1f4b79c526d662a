"""One block of 16 rows; the result is right."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "store of a block of rows not masked: the row after the result is written (MK-01, MK-05)"
VERDICTS = ("OUT_OF_BOUNDS",)
ONLY = "zones of the result"


def matmul(*, out=None, **operands):
    right = TORCH.matmul(**operands)
    if out is None:
        return right
    out.copy_(right)
    if len(right) % 16:
        end = out.storage_offset() + out.numel()
        out.as_strided((right.shape[1],), (1,), end).fill_(0)
    return out


f = Backend(
    "rows_past_the_result_written",
    Limits(bad=(), refuses_outside=False),
    matmul=matmul,
    accepts_out=True,
)
