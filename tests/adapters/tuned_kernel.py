"""A Triton kernel that asks for a GPU when imported and launched; one of its configs is wrong."""

import torch
import triton
import triton.language as tl

from gptq_fuzz import Backend, Limits
from gptq_fuzz.worker.drawn_times import TUNED

CORES = torch.cuda.get_device_properties(0).multi_processor_count
CAPABILITY = torch.cuda.get_device_capability()
TARGET = triton.runtime.driver.active.get_current_target()
CONFIGS = [triton.Config({"ADDED": added}, num_stages=stages) for added, stages in ((0, 1), (1, 2))]


@triton.autotune(configs=CONFIGS, key=["N"])
@triton.jit
def copy_kernel(x_ptr, out_ptr, N, is_whole, ADDED: tl.constexpr):
    for place in tl.range(N, num_stages=2):
        half: tl.constexpr = ADDED / 2
        more = (place * half).to(tl.int32) * 2 + ADDED
        if is_whole:
            tl.store(out_ptr + place, tl.load(x_ptr + place) + more)


def matmul(*, x, qweight, scales, g_idx, qzeros, bits, **_):
    shifts = torch.arange(0, 32, bits)
    codes = (qweight[:, None, :] >> shifts[None, :, None] & 2**bits - 1).flatten(0, 1)
    zeros = (qzeros[:, :, None] >> shifts & 2**bits - 1).flatten(1, 2) + 1 & 2**bits - 1
    product = x.float() @ ((codes - zeros[g_idx]) * scales.float()[g_idx])
    out = torch.empty_like(product)
    with torch.cuda.device(x.device):
        copy_kernel[(1,)](product.contiguous(), out, out.numel(), True)
    return out.to(x.dtype)


KERNEL = Backend(
    "tuned",
    Limits(bits=(8,), m_least=1, bad=(), refuses_outside=False, conditions=(), tokens=(TUNED,)),
    matmul=matmul,
)
