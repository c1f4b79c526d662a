"""Kernels whose way of computing is spelt out step by step: what a fingerprint must find."""

import torch

F32_LOST = 2**13 - 1  # low bits of a float32 that TF32 and float16 do not have
TINY = 2.0**-900


def operands(qweight, qzeros, scales, g_idx, bits):
    """(q, z, s), each [K, N] float64: a row for each k."""
    shifts = torch.arange(0, 32, bits, device=qweight.device)
    q = (qweight[:, None, :] >> shifts[None, :, None] & 2**bits - 1).flatten(0, 1)
    z = (qzeros[:, :, None] >> shifts & 2**bits - 1).flatten(1) + 1 & 2**bits - 1
    return q.double(), z[g_idx.long()].double(), scales[g_idx.long()].double()


def truncated(value):
    """float64 -> a float32 without the bits that TF32 lacks, as float64."""
    return (value.float().view(torch.int32) & ~F32_LOST).view(torch.float32).double()


def half_away(value):
    """float64 above float16's subnormals -> float16, ties away from zero."""
    bits = value.float().view(torch.int32) + (F32_LOST + 1) // 2
    return (bits & ~F32_LOST).view(torch.float32).half()


def exact_weights(q, z, s):
    return (q - z) * s


def zero_scaled(q, z, s):
    return (q * s).half().double() - (z * s).half().double()


def in_order(terms, dtype):
    """[M, K, N] -> [M, N], one after another, each product and sum rounded to `dtype`."""
    rounded = terms.to(dtype)
    total = torch.zeros_like(rounded[:, 0])
    for k in range(terms.shape[1]):
        total = total + rounded[:, k]
    return total.double()


def tensor_core(terms, dtype, side=16, kept=24):
    """Products and the sum so far, aligned to the largest and cut there; then cut to float32."""
    total = torch.zeros_like(terms[:, 0])
    for block in terms.split(side, dim=1):
        every = torch.cat([total[:, None], block], dim=1)
        step = 2.0 ** (every.abs().amax(1, keepdim=True).clamp(min=TINY).log2().floor() - kept)
        whole = ((every / step).trunc() * step).sum(1)
        last = 2.0 ** (whole.abs().clamp(min=TINY).log2().floor() - 23)
        total = (whole / last).trunc() * last
    return total


def joined(sums, partial, dtype=torch.float32):
    """Partial sums, each rounded to `partial`, added in order in `dtype`."""
    return in_order(torch.stack(sums, dim=1).to(partial).double(), dtype)


def blocks(length, partial=torch.float32, add=in_order):
    """Sums of consecutive blocks, joined in float32."""

    def total(terms, dtype):
        return joined([add(block, dtype) for block in terms.split(length, dim=1)], partial)

    return total


def pairs(length):
    """Sums of consecutive blocks, joined two by two."""

    def total(terms, dtype):
        sums = [in_order(block, dtype) for block in terms.split(length, dim=1)]
        while len(sums) > 1:
            sums = [sum(sums[i : i + 2]).float().double() for i in range(0, len(sums), 2)]
        return sums[0]

    return total


def parts(count, partial=torch.float32, join=torch.float32):
    """`count` equal consecutive parts of K, each summed in order."""

    def total(terms, dtype):
        sums = [in_order(part, dtype) for part in terms.tensor_split(count, dim=1)]
        return joined(sums, partial, join)

    return total


def dealt(length, count, partial=torch.float32):
    """Blocks dealt out to `count` sums in turn, as split-K of a Triton kernel does."""

    def total(terms, dtype):
        every, add = terms.split(length, dim=1), blocks(length)
        return joined([add(torch.cat(every[n::count], 1), dtype) for n in range(count)], partial)

    return total


def atomics(count, partial):
    """Parts of K added by atomics: in another order each time, and in each row."""

    def total(terms, dtype):
        sums = [in_order(part, dtype) for part in terms.tensor_split(count, dim=1)]
        order = torch.rand(len(terms), count, generator=ORDER).argsort(1)
        shuffled = torch.stack(sums, dim=1)[torch.arange(len(terms))[:, None], order]
        return in_order(shuffled, partial)

    return total


ORDER = torch.Generator()  # its own: torch's global state stays as it is


def kernel(
    add=in_order, dtype=torch.float32, weights=exact_weights, x_to=None, result=torch.Tensor.half
):
    """A plain callable: products of x and weights, summed by `add` in `dtype`, rounded to half."""

    def f(x, qweight, qzeros, scales, g_idx, bits):
        weight = weights(*operands(qweight, qzeros, scales, g_idx, bits))
        left = x.double() if x_to is None else x.to(x_to).double()
        return result(add(left[:, :, None] * weight, dtype)).to(x.dtype)

    return f


def folded(x, qweight, qzeros, scales, g_idx, bits):
    """Each group's s (sum x q) - s z (sum x), added up in float32."""
    q, z, s = operands(qweight, qzeros, scales, g_idx, bits)
    sums = []
    for group in g_idx.unique():
        rows = (g_idx == group).nonzero()[:, 0]
        left = x[:, rows].double()
        coded = in_order(left[:, :, None] * q[rows], torch.float32)
        alone = in_order(left[:, :, None], torch.float32)
        zero = z[rows[0]] * s[rows[0]]
        sums.append((s[rows[0]] * coded).float() - (zero * alone).float())
    return joined([part.double() for part in sums], torch.float32).half()
