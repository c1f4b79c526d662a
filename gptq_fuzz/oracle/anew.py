"""What must come of some operands, and a result judged by its bytes where no kernel ever was."""

from __future__ import annotations

from collections.abc import Callable

import torch

from gptq_fuzz.case.backend import Numerics
from gptq_fuzz.case.case import Case
from gptq_fuzz.oracle.judge import Expected, Mismatch
from gptq_fuzz.oracle.locate import locate
from gptq_fuzz.oracle.panel import ExpectedPanel, is_large
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.reference.matmul import dequantize


def expectation(operands: Operands, make: Callable) -> Expected | ExpectedPanel:
    """What a kernel must return for `operands`; `make(product, layer)` gives an Expected."""
    layer = operands.originals()
    layer.pop("bias")
    if is_large(operands.case):
        return ExpectedPanel(operands.case, operands.product, layer, make)
    return make(operands.product, layer)


def judged_anew(
    case: Case, result: bytes, numerics: Numerics, capability: int
) -> tuple[Mismatch, str]:
    """What is wrong with the bytes of a result [M, J], and where; problem and reference are built
    afresh, on the CPU. `capability` is that of the device that the kernel ran on.
    """
    case = case.replace(layout="") if case.layout.startswith("pad") else case  # the same numbers
    operands = Operands(case, "cpu", zones=False)

    def intervals(product, layer: dict) -> Expected:
        return Expected(product, dequantize(**layer), numerics, capability)

    dtype, shape = operands.out_dtype, (case.m, case.columns)
    out = (
        torch.frombuffer(bytearray(result), dtype=dtype) if result else torch.empty(0, dtype=dtype)
    )
    mismatch = expectation(operands, intervals).check(out.reshape(shape))
    return mismatch, locate(mismatch.wrong, operands.values, case) if mismatch.count else ""
