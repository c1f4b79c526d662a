"""qzeros with one group too many."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "number of groups taken from the scales, whatever qzeros has (L-26, museum 23)"
VERDICTS = ("FAILED_TO_REJECT",)


def matmul(*, qzeros, scales, **others):
    return TORCH.matmul(qzeros=qzeros[: len(scales)], scales=scales, **others)


f = Backend("qzeros_rows_ignored", Limits(bad=("zshape",), refuses_outside=False), matmul=matmul)
