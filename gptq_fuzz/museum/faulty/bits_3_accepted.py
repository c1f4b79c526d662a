"""3 bits on any problem."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "bits other than 2, 4, 8 give data (L-07)"
VERDICTS = ("FAILED_TO_REJECT",)
SMALLEST = (1, 8, 8)  # m, n, k


def matmul(*, bits, **others):
    return TORCH.matmul(bits=4 if bits == 3 else bits, **others)


f = Backend(
    "bits_3_accepted", Limits(bits=(4,), bad=("bits",), refuses_outside=False), matmul=matmul
)
