"""Nothing past the end of any operand is touched: a page without access follows each of them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.turns(4)

ROOT = Path(__file__).resolve().parents[2]
START = """
import torch
from kernels.quant_linear import QuantLinear, matmul248, transpose_matmul248
from kernels.uniform_groups import plan, product
from tests.end_of_memory import at_the_end_of_memory as at_end

def layer(group_size, K, N):
    buffers = QuantLinear.new(4, group_size, K, N, False).named_buffers()
    return {name: at_end(buffer) for name, buffer in buffers}

def ones(*shape):
    return at_end(torch.ones(shape).half())
"""
PROGRAMS = {
    "general": """
weights = layer(24, 72, 40)
for multiply, inner, columns in ((matmul248, 72, 40), (transpose_matmul248, 40, 72)):
    multiply(ones(5, inner), **weights, bits=4, maxq=15, out=ones(5, columns))
""",
    "uniform groups": """
weights = layer(32, 96, 144)
for g_idx in (weights["g_idx"], weights["g_idx"].flip(0)):
    weights["g_idx"] = at_end(g_idx)
    for tile in plan.TILES.values():
        if tile.kind == plan.WGMMA:  # nobody interprets it
            continue
        matmul248(ones(5, 96), **weights, bits=4, maxq=15, out=ones(5, 144), config=tile)
""",
    "sums of shares": """
weights = layer(32, 96, 144)
given = [weights[name] for name in ("qweight", "scales", "qzeros")]
for tile, kernel in product.fused.items():
    chosen = plan.Plan(tile, 32, 3)
    grid = chosen.grid(5, 144)
    out, parts = ones(5, 144), at_end(torch.ones(3, 5, 144))
    arrived = at_end(torch.zeros(grid[0], dtype=torch.int32))
    packed = product.UniformWeights(*given, 4, 32, None)
    x = ones(5, 96)
    kernel.run(*product.fused_arguments(x, packed, out, parts, arrived, chosen, True), grid=grid)
    assert not arrived.any()
""",
    "written weights": """
for tile in plan.TILES.values():
    if tile.kind == plan.DENSE:
        product._multiply(ones(5, 96), ones(96, 16), ones(5, 16), plan.Plan(tile, 32, 1))
""",
}


@pytest.mark.bug("MK-01 MK-02 MK-04 MK-05 L-01 L-04")
@pytest.mark.skipif(torch.cuda.is_available(), reason="interpreter_only")
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_nothing_past_the_end_of_any_operand_is_touched(program):
    subprocess.run([sys.executable, "-c", START + program], cwd=ROOT, check=True, timeout=120)
