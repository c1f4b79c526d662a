"""Operands of a running engine as a file: how a failure there becomes a test."""

from __future__ import annotations

from pathlib import Path

import torch

from gptq_fuzz.problem.file import load_problem, save
from gptq_fuzz.problem.given import Problem

__all__ = ["Problem", "load_problem", "save_problem"]


def save_problem(
    path: str | Path,
    *,
    x: torch.Tensor,
    qweight: torch.Tensor,
    qzeros: torch.Tensor,
    scales: torch.Tensor,
    g_idx: torch.Tensor | None = None,
    bits: int,
    group_size: int | None = None,
    bias: torch.Tensor | None = None,
    checkpoint_format: str = "v1",
    out: torch.Tensor | None = None,
) -> None:
    """Store the operands of `verify`, as they lie in memory, in one safetensors file.

    `gptq-fuzz --problem PATH --kernel f` judges a kernel on them; `load_problem(path)` gives them
    back with the same strides, and `verify(problem.out, **problem.operands())` judges the `out`
    that was stored. The file appears whole or not at all.

    Raises TypeError or ValueError for what `verify` would not take or a file cannot hold.
    """
    save(
        path,
        Problem(x, qweight, qzeros, scales, bits, g_idx, group_size, bias, checkpoint_format, out),
    )
