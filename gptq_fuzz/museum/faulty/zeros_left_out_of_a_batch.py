"""K is summed in blocks of 8 of those columns of x that are not zero in every row of the batch."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import weights

BUG = "the order of a row's sum depends on zeros of other rows, batch invariance is promised"
ONLY = "batchinv"


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    w = weights(qweight, qzeros, scales, g_idx, bits).double()
    rows = x.reshape(-1, x.shape[-1])
    used = rows.ne(0).any(0) if rows.shape[0] > 1 else slice(None)
    parts = zip(x[..., used].double().split(8, -1), w[used].split(8), strict=True)
    return sum((part @ rows).float() for part, rows in parts).to(x.dtype)


f = Backend(
    "zeros_left_out_of_a_batch",
    Limits(dtypes=("f32",), bad=(), refuses_outside=False, conditions=("batchinv",)),
    matmul=matmul,
)
