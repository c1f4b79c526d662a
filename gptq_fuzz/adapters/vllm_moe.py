"""vLLM's Triton product of experts with weights of 4 and 8 bits (WNA16), with one expert.

Asked for any M, as where there is no CUDA kernel; on CUDA that takes most small M of 4 bits.
"""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import torch
import triton

from gptq_fuzz.adapters.awq import LIMITS, ROUNDED
from gptq_fuzz.case.backend import Backend
from gptq_fuzz.problem.layouts import Guarded
from gptq_fuzz.problem.pages import at_edge
from gptq_fuzz.worker.alone import import_alone

PLATFORM = SimpleNamespace(is_cuda=lambda: False, is_rocm=lambda: False)
FOLDER = "vllm.model_executor.layers.fused_moe"
PARTS = ("modular_kernel", "activation", "config", "moe_align_block_size", "utils")
UNUSED = [f"{FOLDER}.{part}" for part in PARTS]  # what only the layer around needs
UNUSED += ["vllm._custom_ops", "vllm.triton_utils.allocation"]
UNUSED += ["vllm.utils.platform_utils", "vllm.utils.torch_utils"]
GIVEN = {"vllm.triton_utils": {"triton": triton, "tl": triton.language}}
GIVEN |= {"vllm.platforms": {"current_platform": PLATFORM}} | dict.fromkeys(UNUSED)
MOE = import_alone(f"{FOLDER}.fused_moe", GIVEN)


def prepare(*, codes, zeros, scales, bits, group_size, **_):
    """[1, N, K] bytes, of 4 bits two along K, of zero-points along N; None where all are c."""
    weight, zero = codes.T.contiguous(), zeros.T.to(torch.uint8)
    if bits == 4:
        weight, zero = weight[:, ::2] | weight[:, 1::2] << 4, zero[::2] | zero[1::2] << 4
    zero = zero.contiguous()[None] if (zeros != 2 ** (bits - 1)).any() else None
    if not weight.is_cuda:  # memory may end where the weights do
        weight = at_edge("weight", Guarded.like(weight, "cpu", zones=False), "behind", "cpu")
    return weight[None], scales.T.contiguous()[None], zero, bits, group_size


def run(state, *, x):
    """x [M, K] -> [M, N]; every row is routed to the expert, in blocks that are filled up."""
    weight, scales, zero, bits, group_size = state
    (M, K), N, block = x.shape, scales.shape[1], [0, group_size]
    config = MOE.get_default_config(M, 1, N, K, 1, f"int{bits}_w{bits}a16", block)
    blocks, rows = triton.cdiv(M, config["BLOCK_SIZE_M"]), config["BLOCK_SIZE_M"]
    numbers = {"dtype": torch.int32, "device": x.device}
    tokens = torch.arange(blocks * rows, **numbers).clamp(max=M)
    routed = tokens, torch.zeros(blocks, **numbers), torch.full((1,), blocks * rows, **numbers)
    kind = getattr(triton.language, str(x.dtype).removeprefix("torch."))
    out, options = x.new_empty(M, 1, N), (False, 1, config, kind, bits == 8, bits == 4, block)
    MOE.invoke_fused_moe_wna16_triton_kernel(x, weight, out, scales, zero, None, *routed, *options)
    return out[:, 0]


ASKED = {"bits": (8, 4), "group_sizes": (32, 64, 128, 256), "layouts": ("", "off", "pad")}
MOST = dataclasses.replace(LIMITS, **ASKED, n_multiple=1, k_multiple=32)
BACKENDS = {"moe": Backend("moe", MOST, ROUNDED, prepare=prepare, run=run, operands="codes")}
