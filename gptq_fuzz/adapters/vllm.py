"""vLLM's Triton kernels for AWQ, and its linear layer of 4 bits in Triton.

Its own `__init__` wants the whole engine: the modules of the kernels alone are imported.
"""

from __future__ import annotations

import dataclasses

from gptq_fuzz.adapters import vllm_w4a16
from gptq_fuzz.adapters.awq import ROUNDED, dequantized, multiplied
from gptq_fuzz.worker.alone import import_alone

AWQ = import_alone("vllm.model_executor.layers.quantization.awq_triton", vllm_w4a16.GIVEN)
PRODUCT = multiplied(AWQ)
# The same judged as it sums, on purpose or not: what else is wrong shows
AS_IT_SUMS = dataclasses.replace(ROUNDED, accumulator="x", partial="x")
BACKENDS = {
    "awq": PRODUCT,
    "awq-f16": dataclasses.replace(PRODUCT, numerics=AS_IT_SUMS),
    "awq-dequantize": dequantized(AWQ),
    **vllm_w4a16.BACKENDS,
}
