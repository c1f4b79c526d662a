"""qzeros with one group too many."""

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case.backend import Backend, Limits

BUG = "number of groups taken from the scales, whatever qzeros has (L-26, museum 23)"
VERDICTS = ("FAILED_TO_REJECT",)
SMALLEST = (1, 4, 4)  # m, n, k


def matmul(*, qzeros, scales, **others):
    return TORCH.matmul(qzeros=qzeros[: len(scales)], scales=scales, **others)


f = Backend("qzeros_rows_ignored", Limits(bad=("zshape",), refuses_outside=False), matmul=matmul)
