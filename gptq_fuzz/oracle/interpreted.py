"""What Triton's interpreter makes of bfloat16; to be imported where it runs kernels, on a CPU.

Our layers ask the same in kernels/interpreter.py: suite and kernels share no code.
"""

from __future__ import annotations

import functools

import torch
import triton
import triton.language as tl


@triton.jit
def _square_kernel(x_ptr, out_ptr):
    row = tl.arange(0, 16)
    tile = tl.load(x_ptr + row[:, None] * 16 + row[None, :])
    tl.store(out_ptr + row[:, None] * 16 + row[None, :], tl.dot(tile, tile))


@functools.cache
def bfloat16_works() -> bool:
    """Whether a product is right: interpreters up to Triton 3.7 multiply raw bits."""
    x = (torch.arange(256, device="cpu") % 7 - 3).view(16, 16).to(torch.bfloat16)
    out = torch.empty(16, 16, dtype=torch.float32, device="cpu")
    _square_kernel[(1,)](x, out)
    return torch.equal(out, x.float() @ x.float())
