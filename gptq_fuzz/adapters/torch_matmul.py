"""How a product rounds behind weights that were dequantised to the dtype of x."""

from __future__ import annotations

import dataclasses

import torch

from gptq_fuzz.case.backend import Numerics

ROUNDED = Numerics(weights=("x",), folds_zero=False)
# By torch.matmul. cuBLAS may split K and join the parts in the dtype of x; torch lets it do so:
# torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction, and its twin of bfloat16.
PARTIAL = "x" if torch.cuda.is_available() else "f32"
DEQUANTIZED = dataclasses.replace(ROUNDED, partial=PARTIAL)
