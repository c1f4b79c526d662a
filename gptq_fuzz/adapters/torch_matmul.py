"""How `torch.matmul` rounds behind weights that were dequantised to the dtype of x."""

from __future__ import annotations

import torch

from gptq_fuzz.case.backend import Numerics

# cuBLAS may split K and join the parts in the dtype of x; torch lets it by default:
# torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction, and its twin of bfloat16.
PARTIAL = "x" if torch.cuda.is_available() else "f32"
DEQUANTIZED = Numerics(weights=("x",), folds_zero=False, partial=PARTIAL)
