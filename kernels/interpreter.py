"""Whether Triton interprets, and what it gets wrong then, found out by asking it."""

import functools

import torch
import triton
import triton.language as tl

INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)  # when kernels are imported


@triton.jit
def _square_kernel(x_ptr, out_ptr):
    row = tl.arange(0, 16)
    tile = tl.load(x_ptr + row[:, None] * 16 + row[None, :])
    tl.store(out_ptr + row[:, None] * 16 + row[None, :], tl.dot(tile, tile))


@functools.cache
def bfloat16_works(device):
    """Whether bfloat16 products are right: interpreters up to Triton 3.7 multiply raw bits."""
    x = (torch.arange(256, device=device) % 7 - 3).view(16, 16).to(torch.bfloat16)
    out = torch.empty(16, 16, dtype=torch.float32, device=device)
    _square_kernel[(1,)](x, out)
    return torch.equal(out, x.float() @ x.float())
