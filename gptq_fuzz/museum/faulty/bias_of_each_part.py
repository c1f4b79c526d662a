"""Few rows, a bias, and both a long K and many columns: too few tiles for a device, K is cut."""

from gptq_fuzz import Backend, Limits, Numerics
from gptq_fuzz.museum.parts import weights

BUG = "split-K: each of four parts of K starts from the bias"
ONLY = "crossings"
SMALLEST = (1, 1024, 8192)  # m, n, k


def matmul(*, x, bias, group_size, checkpoint_format, **layer):
    w = weights(**layer)
    parts = 4 if len(x) <= 16 and len(w) >= 8192 and w.shape[1] >= 1024 else 1
    out = 0
    for rows, some in zip(x.float().chunk(parts, 1), w.chunk(parts), strict=True):
        out = out + rows @ some + (0 if bias is None else bias.float())
    return out.to(x.dtype)


limits = Limits(bias=True, bad=(), refuses_outside=False)
f = Backend("bias_of_each_part", limits, Numerics(), matmul)
