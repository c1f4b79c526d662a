"""vLLM's Triton kernels for AWQ, and its linear layer of 4 bits in Triton, `triton_w4a16`.

Its own `__init__` wants the whole engine: the modules of the kernels alone are imported.
"""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import triton
import triton.language as tl
from torch.nn import Module, Parameter

from gptq_fuzz.adapters.awq import dequantized, multiplied
from gptq_fuzz.case.backend import Backend, Limits, Numerics
from gptq_fuzz.problem.codes import repack
from gptq_fuzz.worker.alone import import_alone
from gptq_fuzz.worker.drawn_times import INTERPRETED

PLATFORM = SimpleNamespace(is_cuda=lambda: True, is_rocm=lambda: False)
PLATFORM.dispatch_key = "CPU" if INTERPRETED else "CUDA"
PARALLEL = ("get_tensor_model_parallel_rank", "get_tensor_model_parallel_world_size")
GIVEN = {
    "vllm.triton_utils": {"triton": triton, "tl": tl},
    "vllm.platforms": {"current_platform": PLATFORM},
    "vllm.distributed": dict.fromkeys(PARALLEL),  # asked by loaders of weights alone
    "vllm.utils.platform_utils": {"is_pin_memory_available": lambda: False},
}
FOLDER = "vllm.model_executor"
AWQ = import_alone(f"{FOLDER}.layers.quantization.awq_triton", GIVEN)
W4A16 = import_alone(f"{FOLDER}.kernels.linear.mixed_precision.triton_w4a16", GIVEN)

AS_IT_SUMS = Numerics(("x",), folds_zero=False, accumulator="x", partial="x")  # on purpose or not


def prepare(*, codes, zeros, scales, bias, group_size, **_):
    """A layer as compressed-tensors hands it over: [N, K / 8], symmetric where all z are 8."""
    has_zeros = bool((zeros != 8).any())
    kind = W4A16.scalar_types.uint4 if has_zeros else W4A16.scalar_types.uint4b8
    shape = tuple(codes.shape)
    config = W4A16.MPLinearLayerConfig(shape, shape, kind, scales.dtype, group_size, has_zeros)
    admitted, why = W4A16.TritonW4A16LinearKernel.can_implement(config)
    if not admitted:
        raise NotImplementedError(why)
    layer, columns = Module(), {"q": repack(codes, 4), "s": scales.clone()}
    columns |= {"z": repack(zeros, 4, dim=1)} if has_zeros else {}
    for (name, part), packed in zip(columns.items(), (1, None, 0), strict=False):
        setattr(layer, name, Parameter(part.T.contiguous(), requires_grad=False))
        vars(getattr(layer, name)).update(input_dim=1, output_dim=0, packed_dim=packed)
    kernel = W4A16.TritonW4A16LinearKernel(config, "q", "s", "z" if has_zeros else None)
    kernel.process_weights_after_loading(layer)
    return kernel, layer, bias


LAYER = Backend(
    "w4a16",
    operands="codes",
    prepare=prepare,
    run=lambda state, x: state[0].apply_weights(state[1], x, state[2]),
    limits=Limits(
        bits=(4,),
        dtypes=("f16",) if INTERPRETED else ("f16", "bf16"),
        scales_dtypes=("sf16",) if INTERPRETED else ("sf16", "sbf16"),
        g_idx=("seq",),
        group_sizes=(32, 64, 128, 256, -1),
        ranks=(2, 1, 3, 4),
        bias=True,
        n_multiple=8,
        k_multiple=8,
        whole_groups=True,
        scales_as_x=True,
        conditions=("omp3", "det", "grad", "infer", "param", "stream"),
        bad=(),
        refuses_outside=False,
        tile=(64, 64, 32),
        max_tiles=16 if INTERPRETED else 8192,
    ),
    numerics=Numerics(weights=("x",), folds_zero=False),
)
PRODUCT = multiplied(AWQ)
BACKENDS = {
    "awq": PRODUCT,
    "awq-f16": dataclasses.replace(PRODUCT, numerics=AS_IT_SUMS),
    "awq-dequantize": dequantized(AWQ),
    "w4a16": LAYER,
}
