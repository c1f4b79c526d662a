"""AutoGPTQ's layers by torch and by Triton; its CUDA extension is there on a GPU.

Its own `__init__` wants a transformers of its day: the modules of the layers alone are imported.
"""

from __future__ import annotations

import functools
import importlib
import sys
from importlib.util import find_spec
from types import ModuleType

from gptq_fuzz.adapters.torch_matmul import DEQUANTIZED, ROUNDED
from gptq_fuzz.case.backend import Backend, Limits
from gptq_fuzz.worker.drawn_times import INTERPRETED, TUNED

KERNELS = {
    "torch": ("qlinear_cuda", (8, 4, 2, 3), DEQUANTIZED),
    "triton": ("qlinear_triton", (8, 4, 2), ROUNDED),
}

PLACE = find_spec("auto_gptq").submodule_search_locations[0]
for name, place in (("auto_gptq", PLACE), ("auto_gptq.nn_modules", f"{PLACE}/nn_modules")):
    sys.modules.setdefault(name, ModuleType(name)).__path__ = [place]


def prepare(*, module, qweight, qzeros, scales, g_idx, bias, bits, group_size, **_):
    """A layer with the operands in the place of its buffers."""
    K, N = len(g_idx), scales.shape[1]
    found = importlib.import_module(f"auto_gptq.nn_modules.qlinear.{module}")
    layer = found.QuantLinear(bits, group_size, K, N, bias is not None)
    layer.qweight, layer.qzeros, layer.scales, layer.g_idx = qweight, qzeros, scales, g_idx
    layer.bias = bias
    return layer


BACKENDS = {
    kernel: Backend(
        name=kernel,
        prepare=functools.partial(prepare, module=module),
        run=lambda layer, x: layer(x),
        limits=Limits(
            bits=bits,
            ranks=(2, 3),
            bias=True,
            m_least=1,
            n_multiple=32,
            k_multiple=32,
            conditions=("omp3", "infer", "stream"),
            bad=(),
            refuses_outside=False,
            tokens=(TUNED,) if kernel == "triton" else (),
            tile=(64, 64, 32),
            max_tiles=16 if INTERPRETED else 8192,
        ),
        numerics=numerics,
    )
    for kernel, (module, bits, numerics) in KERNELS.items()
}
