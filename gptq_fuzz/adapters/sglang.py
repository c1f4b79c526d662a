"""SGLang's Triton kernel for AWQ, which unpacks weights; the product is torch's.

Its own `__init__` wants the whole engine: the module of the kernel alone is imported.
"""

from __future__ import annotations

from gptq_fuzz.adapters.awq import dequantized
from gptq_fuzz.worker.alone import import_alone

BACKENDS = {"awq": dequantized(import_alone("sglang.kernels.ops.quantization.awq_triton"))}
