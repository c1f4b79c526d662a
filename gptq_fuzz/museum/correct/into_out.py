"""Writes into the `out` that it is handed, adds a bias there, and returns a view of it."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import matmul as product


def matmul(*, x, qweight, qzeros, scales, g_idx, bias, bits, out=None, **_):
    rows = product(x.reshape(-1, x.shape[-1]), qweight, qzeros, scales, g_idx, bits)
    shape = (*x.shape[:-1], qweight.shape[1])
    if out is None:
        out = x.new_empty(shape)
    flat = out.view(-1, qweight.shape[1])
    flat.copy_(rows)
    if bias is not None:
        flat.add_(bias)
    return flat.view(shape)


f = Backend(
    "into_out",
    Limits(ranks=(2, 1, 3, 4), bias=True, bad=(), refuses_outside=False),
    matmul=matmul,
    accepts_out=True,
)
