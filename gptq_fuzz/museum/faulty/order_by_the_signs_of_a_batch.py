"""Rows without a negative number, as behind a ReLU, in a batch of such rows and beside others."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import in_blocks, weights

BUG = "K is summed in one piece where no number of the batch is negative; invariance is promised"
ONLY = "batchinv"


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    w = weights(qweight, qzeros, scales, g_idx, bits).double()
    step = len(w) if bool((x >= 0).all()) else 8
    return in_blocks(x, w, step)


f = Backend(
    "order_by_the_signs_of_a_batch",
    Limits(dtypes=("f32",), bad=(), refuses_outside=False, conditions=("batchinv",)),
    matmul=matmul,
)
