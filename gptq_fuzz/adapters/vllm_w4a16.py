"""vLLM's linear layer of 4 bits in Triton, `triton_w4a16`: what can_implement admits."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import triton
from torch.nn import Module, Parameter

from gptq_fuzz.adapters.awq import LIMITS, ROUNDED
from gptq_fuzz.case.backend import Backend, Limits
from gptq_fuzz.problem.codes import repack
from gptq_fuzz.worker.alone import import_alone
from gptq_fuzz.worker.drawn_times import INTERPRETED

PLATFORM = SimpleNamespace(is_cuda=lambda: True, is_rocm=lambda: False)
PLATFORM.dispatch_key = "CPU" if INTERPRETED else "CUDA"
PARALLEL = ("get_tensor_model_parallel_rank", "get_tensor_model_parallel_world_size")
GIVEN = {  # modules of vLLM that want the whole engine
    "vllm.triton_utils": {"triton": triton, "tl": triton.language},
    "vllm.platforms": {"current_platform": PLATFORM},
    "vllm.distributed": dict.fromkeys(PARALLEL),  # asked by loaders of weights alone
    "vllm.utils.platform_utils": {"is_pin_memory_available": lambda: False},
}
import_alone("vllm.model_executor.layers.quantization.utils", GIVEN)  # which it imports
PLACE = "vllm.model_executor.kernels.linear.mixed_precision"
W4A16 = import_alone(f"{PLACE}.triton_w4a16", GIVEN)


def prepare(*, codes, zeros, scales, bias, group_size, **_):
    """A layer as compressed-tensors hands it over: [N, K / 8], symmetric where all z are 8."""
    has_zeros = bool((zeros != 8).any())
    kind = W4A16.scalar_types.uint4 if has_zeros else W4A16.scalar_types.uint4b8
    shape = tuple(codes.shape)
    config = W4A16.MPLinearLayerConfig(shape, shape, kind, scales.dtype, group_size, has_zeros)
    admitted, why = W4A16.TritonW4A16LinearKernel.can_implement(config)
    if not admitted:
        raise NotImplementedError(why)
    parts = {"q": (repack(codes, 4), 1), "s": (scales.clone(), None)}
    parts |= {"z": (repack(zeros, 4, dim=1), 0)} if has_zeros else {}
    layer = Module()
    for name, (part, packed) in parts.items():
        found = Parameter(part.T.contiguous(), requires_grad=False)
        vars(found).update(input_dim=1, output_dim=0, packed_dim=packed)
        setattr(layer, name, found)
    kernel = W4A16.TritonW4A16LinearKernel(config, "q", "s", "z" if has_zeros else None)
    kernel.process_weights_after_loading(layer)
    return kernel, layer, bias


def run(state, *, x):
    """x [..., K] -> [..., N]."""
    return state[0].apply_weights(state[1], x, state[2])


ASKED = {"group_sizes": (32, 64, 128, 256, -1), "ranks": (2, 1, 3, 4), "bias": True}
ASKED |= {"layouts": Limits().layouts, "conditions": (*LIMITS.conditions, "param")}
MOST = dataclasses.replace(LIMITS, **ASKED)
BACKENDS = {"w4a16": Backend("w4a16", MOST, ROUNDED, prepare=prepare, run=run, operands="codes")}
