"""The steps around a product with groups of one size, each alone, between red zones."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gptq_fuzz.adapters.triton import TRITON
from gptq_fuzz.case.case import Case
from gptq_fuzz.oracle.examination import Examination, Request
from gptq_fuzz.problem.layouts import Guarded, Placement
from gptq_fuzz.problem.operands import Operands
from kernels.quant_linear import matmul248
from kernels.uniform_groups import plan as grouped_plan
from kernels.uniform_groups import product as grouped
from tests.triton.uniform_groups import weights_of

ROOT = Path(__file__).resolve().parents[2]
M, K = 3, 288  # K ends within a program's ARRANGED columns; rows of x are 290 apart


def guarded(rows, columns, dtype, device):
    """NaN between red zones."""
    values = torch.full((rows, columns), float("nan"), dtype=dtype)
    return Guarded(values, Placement(columns), device)


def x_and_order(device):
    maker = torch.Generator().manual_seed(1)
    x = torch.randint(-8, 9, (M, K + 2), generator=maker).half().to(device)[:, :K]
    return x, torch.randperm(K, generator=maker).to(torch.int16).to(device)


@pytest.mark.bug("B-12 L-02")
@pytest.mark.parametrize("ordered", [False, True], ids=["as-they-lie", "ordered"])
def test_x_is_arranged_into_its_rows_and_nothing_else(ordered, device):
    x, order = x_and_order(device)
    made = guarded(M, K, torch.float16, device)
    grouped._arrange.run(
        x, made.view, made.view, order, K, *x.stride(), ordered, False, 32, grid=(M, 2)
    )
    assert torch.equal(made.view, x[:, order.long()] if ordered else x)
    assert made.is_inside()


def test_sums_of_blocks_are_those_of_the_ordered_columns(device):
    x, order = x_and_order(device)
    made, sums = (guarded(*sizes, device) for sizes in
                  ((M, K, torch.float16), (K // 32, M, torch.float32)))  # fmt: skip
    grouped._arrange.run(
        x, made.view, sums.view, order, K, *x.stride(), True, True, 32, grid=(M, 2)
    )
    expected = x[:, order.long()].float().view(M, K // 32, 32).sum(2).t()
    assert torch.equal(sums.view, expected)
    assert torch.equal(made.view.sort(1).values, x.sort(1).values)
    assert made.is_inside()
    assert sums.is_inside()


def test_columns_are_sorted_into_their_rows_and_nothing_else(device):
    x, order = x_and_order(device)
    made = guarded(M, K, torch.float16, device)
    grouped._sort_columns.run(x, made.view, order, K, *x.stride(), 512, grid=(M,))
    assert torch.equal(made.view, x[:, order.long()])
    assert made.is_inside()


@pytest.mark.parametrize("block", grouped.ADDED)
def test_shares_are_added_into_the_result_and_nothing_else(block, device):
    parts = torch.arange(4.0 * 300, device=device).view(4, 300)
    out = guarded(1, 300, torch.float16, device)
    grouped._add_parts[block].run(parts, out.view, 300, 4, grid=(-(-300 // block),))
    assert torch.equal(out.view[0], parts.sum(0).half())
    assert out.is_inside()


@pytest.mark.bug("DT-03")
@pytest.mark.parametrize("tile", ["few16", "many16", "many256"])
@pytest.mark.parametrize("scales", ["sf32", pytest.param("sbf16", marks=pytest.mark.gpu)])
def test_scales_of_another_dtype_make_weights_that_are_rounded_once(scales, tile, device):
    """In the way of each kind of block."""
    line = f"m17-n32-k128-b4-g32-act-{scales}-randn-cfg.{tile}"
    case = Case.parse(line, TRITON.limits.tokens)
    verdict = Examination(TRITON, case, str(device), Request()).verdict()
    assert verdict.ok, verdict.headline()


@pytest.mark.bug("GI-08 MK-12 LY-01")
@pytest.mark.parametrize(
    "strides", [(64, 16, 1), (72, 24, 1), (80, 24, 1), (200, 48, 3), (1, 6, 18)]
)
@pytest.mark.parametrize("tile", ["few16", "many16"])
def test_a_result_of_any_strides_is_written_and_nothing_else(tile, strides, device):
    operands = Operands(Case.parse("m6-n16-k64-b4-g32"), device)
    weights = weights_of(operands)
    plain = matmul248(operands.left, **weights, bits=4, maxq=15)
    memory = torch.full((2000,), float("nan"), dtype=plain.dtype, device=device)
    out = memory.as_strided((2, 3, 16), strides)
    x = operands.left.view(2, 3, 64)
    matmul248(x, **weights, bits=4, maxq=15, out=out, config=grouped_plan.TILES[tile])
    assert torch.equal(out, plain.view(2, 3, 16))
    assert int((~memory.isnan()).sum()) == out.numel()


def far_apart(tensor, apart, device):
    """The same values, the rows so many elements apart."""
    rows, columns = tensor.shape
    memory = torch.empty((rows - 1) * apart + columns, dtype=tensor.dtype, device=device)
    return memory.as_strided((rows, columns), (apart, 1)).copy_(tensor)


@pytest.mark.bug("L-06 OV-01")
def test_rows_of_x_past_two_billion_elements_are_arranged(device):
    x, order = x_and_order(device)
    far = far_apart(x, 2**30, device)
    made = torch.empty_like(x, memory_format=torch.contiguous_format)
    grouped._arrange.run(far, made, made, order, K, *far.stride(), False, False, 32, grid=(M, 2))
    assert torch.equal(made, x)
    grouped._sort_columns.run(far, made, order, K, *far.stride(), 512, grid=(M,))
    assert torch.equal(made, x[:, order.long()])


@pytest.mark.bug("L-06 OV-01")
@pytest.mark.parametrize(
    ("name", "apart"), [("scales", 2**30), pytest.param("qweight", 2**28, marks=pytest.mark.gpu)]
)  # 4 GB, and 12
def test_weights_past_two_billion_elements_are_read(name, apart, device):
    """Three groups, twelve rows of words."""
    operands = Operands(Case.parse("m1-n16-k96-b4-g32"), device)
    weights = weights_of(operands)
    plain = matmul248(operands.left, **weights, bits=4, maxq=15)
    weights[name] = far_apart(weights[name], apart, device)
    assert torch.equal(matmul248(operands.left, **weights, bits=4, maxq=15), plain)


@pytest.mark.bug("OV-01")
@pytest.mark.gpu
def test_shares_past_two_billion_elements_are_added(device):
    """The first block of three shares, in 9 GB."""
    parts = far_apart(torch.arange(3.0 * 256).view(3, 256), 2**30, device)
    out = torch.empty(256, dtype=torch.float16, device=device)
    grouped._add_parts[256].run(parts, out, 2**30, 3, grid=(1,))
    assert torch.equal(out, parts.sum(0).half())


GUARDED = """
import torch
from kernels.uniform_groups import plan as grouped_plan
from kernels.uniform_groups import product as grouped
from kernels.quant_linear import QuantLinear, matmul248
from tests.end_of_memory import at_the_end_of_memory as at_end

layer = QuantLinear.new(4, 32, 96, 144, False)
weights = {name: at_end(buffer) for name, buffer in layer.named_buffers()}
for g_idx in (layer.g_idx, layer.g_idx.flip(0)):
    weights["g_idx"] = at_end(g_idx)
    for tile in grouped_plan.TILES.values():
        x, out = at_end(torch.ones(5, 96).half()), at_end(torch.ones(5, 144).half())
        matmul248(x, **weights, bits=4, maxq=15, out=out, config=tile)
for block in grouped.ADDED:
    parts, out = at_end(torch.ones(4, 300)), at_end(torch.ones(300).half())
    grouped._add_parts[block].run(parts, out, 300, 4, grid=(-(-300 // block),))
"""


@pytest.mark.bug("MK-01 MK-02 L-01 L-04")
@pytest.mark.skipif(torch.cuda.is_available(), reason="interpreter_only")
def test_nothing_past_the_end_of_any_operand_is_touched():
    """A page without access follows each of them."""
    subprocess.run([sys.executable, "-c", GUARDED], cwd=ROOT, check=True, timeout=120)
