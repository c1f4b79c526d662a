"""K is summed in one block, or in blocks of 8 where an outlier is in the batch; both are right."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import in_blocks, weights

BUG = "the order of a row's sum depends on an outlier in another row, batch invariance is promised"
ONLY = "batchinv"
SMALLEST = (1, 4, 12)

OUTLIER = 4096.0


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    w = weights(qweight, qzeros, scales, g_idx, bits).double()
    step = 8 if (x.abs() > OUTLIER).any() else len(w)
    return in_blocks(x, w, step)


f = Backend(
    "sum_in_blocks_beside_an_outlier",
    Limits(dtypes=("f32",), bad=(), refuses_outside=False, conditions=("batchinv",)),
    matmul=matmul,
)
