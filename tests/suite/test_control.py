"""The control: what the suite holds for right must be right on every machine."""

import pytest
import torch

from gptq_fuzz.adapters.control import matmul
from gptq_fuzz.case.case import Case
from gptq_fuzz.problem.operands import Operands


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32"])
@pytest.mark.parametrize("k", [40, 72])  # beyond a tile of 32, and not whole ones
def test_an_infinite_row_of_x_spoils_no_other(k, dtype):
    """As oneDNN's bfloat16 products on CPUs with AMX do to the row before."""
    operands = Operands(Case.parse(f"m33-n8-k{k}-b4-gall").replace(dtype=dtype), "cpu")
    x, weights = operands.left.clone(), operands.weights()
    plain = matmul(x=x, **weights)
    x[16] = float("inf")
    others = torch.arange(33) != 16
    assert torch.equal(matmul(x=x, **weights)[others], plain[others])
