"""Up to 16 rows K is summed in blocks of 8, above in one; both are right to the last rounding."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import in_blocks, weights

BUG = "the order of a sum depends on the number of rows, batch invariance is promised"
ONLY = "batchinv"


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    w = weights(qweight, qzeros, scales, g_idx, bits).double()
    step = 8 if len(x) <= 16 else len(w)
    return in_blocks(x, w, step)


f = Backend(
    "bits_depend_on_m",
    Limits(dtypes=("f32",), bad=(), refuses_outside=False, conditions=("batchinv",)),
    matmul=matmul,
)
