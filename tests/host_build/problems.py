"""Corpus lines as the runner reads them: operands, and between what each result must lie.

The format stands in problem.h.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from gptq_fuzz.case.backend import Backend
from gptq_fuzz.case.case import Case
from gptq_fuzz.oracle.judge import Expected
from gptq_fuzz.problem.operands import Operands
from reference.matmul import dequantize

FIRST_LINE = b"gptq-fuzz exllama problems 1\n"
OFFSETS = 8  # elements; only how far x is from a vector boundary matters


def write_problems(path: Path, lines: Iterable[str], backend: Backend) -> int:
    """The lines that lie inside the backend's limits, written to `path`; how many these are."""
    count = 0
    with path.open("wb") as file:
        file.write(FIRST_LINE)
        for line in lines:
            case = _case_for_the_runner(line, backend)
            if case is not None:
                file.write(_problem(case, backend))
                count += 1
    return count


def _case_for_the_runner(line: str, backend: Backend) -> Case | None:
    try:
        case = Case.parse(line, backend.limits.tokens)
    except ValueError:  # a token of another kernel
        return None
    outside = case.bad or case.bias or case.backward or backend.limits.violations(case)
    return None if outside else case


def _problem(case: Case, backend: Backend) -> bytes:
    operands = Operands(case, "cpu", zones=False)
    weights = operands.originals()
    weights.pop("bias")
    expected = Expected(operands.product, dequantize(**weights), backend.numerics, 0)
    low, high = _bounds(expected)
    x, stride, offset = _placed(operands.left.reshape(-1, case.k))
    g_idx = _g_idx(weights["g_idx"], case)
    tensors = [weights["qweight"], weights["qzeros"], weights["scales"], g_idx, x, low, high]
    tokens = dict(case.extra)
    numbers = [case.m, case.n, case.k, case.groups, stride, offset]
    numbers += [-int(tokens.get("thd", 8)), tokens.get("fused", 0), tokens.get("nohalf2", 0)]
    numbers += [case.seed % 3, case.seed, int(g_idx is not None)]
    header = " ".join(map(str, [case, *numbers]))
    return f"{header}\n".encode() + b"".join(map(_bytes, tensors))


def _g_idx(g_idx: torch.Tensor | None, case: Case) -> torch.Tensor | None:
    """Groups of unequal size cannot go unspoken."""
    if g_idx is None and case.rows_per_group * case.groups != case.k:
        return torch.arange(case.k, dtype=torch.int32) // case.rows_per_group
    return g_idx


def _placed(x: torch.Tensor) -> tuple[torch.Tensor, int, int]:
    """x [M, K] with its rows' stride and its offset, and the memory from that offset on."""
    rows, columns = x.shape
    if rows and (x.stride(1) != 1 or x.stride(0) < columns):
        x = x.contiguous()
    offset = x.storage_offset() % OFFSETS
    stride = max(x.stride(0), columns)
    span = (rows - 1) * stride + columns if rows else 0
    memory = torch.zeros(offset + span, dtype=x.dtype)
    if rows:
        memory.as_strided((rows, columns), (stride, 1), offset).copy_(x)
    return memory, stride, offset


def _bounds(expected: Expected) -> tuple[torch.Tensor, torch.Tensor]:
    """[M, N] float16 each; NaN in both where NaN is due, in `low` alone where any non-finite is."""
    (low, high), special = expected.bounds[0][0], expected._nonfinite
    low, high = low.clone(), high.clone()
    if special is not None:
        must_nan, any_special, settled = special
        ref, nan, inf = expected.references[0][0], torch.tensor(torch.nan), torch.tensor(torch.inf)
        exact = settled & ~must_nan
        low, high = torch.where(exact, ref, low), torch.where(exact, ref, high)
        unsettled = any_special & ~settled & ~must_nan
        low, high = torch.where(unsettled, nan, low), torch.where(unsettled, inf, high)
        low, high = torch.where(must_nan, nan, low), torch.where(must_nan, nan, high)
    return low.half(), high.half()


def _bytes(tensor: torch.Tensor | None) -> bytes:
    return b"" if tensor is None else tensor.contiguous().numpy().tobytes()
