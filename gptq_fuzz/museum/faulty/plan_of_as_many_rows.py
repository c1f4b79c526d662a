"""As many rows of x in other batches than before."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "a plan is kept for each number of rows and of dimensions, and with it the result's shape"
VERDICTS = ("WRONG_TYPE",)
ONLY = "rows regrouped"
SMALLEST = (2, 4, 4)  # m, n, k
PLANS = {}


def matmul(*, x, **others):
    rows = x.reshape(-1, x.shape[-1])
    out = TORCH.matmul(x=rows, **others)
    planned = PLANS.setdefault((len(rows), x.dim(), out.shape[1]), (*x.shape[:-1], out.shape[1]))
    return out.view(planned)


f = Backend(
    "plan_of_as_many_rows", Limits(ranks=(2, 3, 4), bad=(), refuses_outside=False), matmul=matmul
)
