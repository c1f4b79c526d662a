"""Batches of 7 rows take a path that sums K from its end; both are right to the last rounding."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import weights

BUG = "a sum is in another order for batches of 7 rows, batch invariance is promised"
ONLY = "batchinv"


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    places = range(len(w))
    out = x.new_zeros(len(x), w.shape[1], dtype=w.dtype)
    for k in reversed(places) if len(x) == 7 else places:
        out = out + x[:, k : k + 1].float() * w[k]
    return out.to(x.dtype)


f = Backend(
    "seven_rows_summed_backwards",
    Limits(bad=(), refuses_outside=False, conditions=("batchinv",)),
    matmul=matmul,
)
