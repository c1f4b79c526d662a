"""Weights written out and multiplied from there: the steps alone, panels, x of any layout."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gptq_fuzz.case.case import Case
from gptq_fuzz.problem.layouts import Guarded, Placement
from gptq_fuzz.problem.operands import Operands
from kernels.quant_linear import matmul248
from kernels.uniform_groups import plan as grouped_plan
from kernels.uniform_groups import product as grouped
from tests.triton.uniform_groups import chosen, launch, rounded_once, weights_of

ROOT = Path(__file__).resolve().parents[2]
DENSE = [tile for tile in grouped_plan.TILES.values() if tile.kind == grouped_plan.DENSE]
of_each_tile = pytest.mark.parametrize("tile", DENSE, ids=lambda tile: tile.name)


def guarded(values, row, device):
    """A copy between red zones, its rows so many elements apart."""
    return Guarded(values, Placement(row), device)


@pytest.mark.bug("B-12 L-02 GI-07")
@pytest.mark.parametrize("g_idx", ["seq", "act"])
@pytest.mark.parametrize("columns", [slice(0, 272), slice(256, 512), slice(512, 528)])
def test_weights_are_written_to_their_rows_and_nothing_else(columns, g_idx, device):
    """K and N end within a program's block; rows of W are 16 too far apart."""
    operands = Operands(Case.parse("m1-n528-k96-b4-g32").replace(g_idx=g_idx), device)
    identity = torch.eye(96, dtype=torch.float16, device=device)
    expected = matmul248(identity, **weights_of(operands), bits=4, maxq=15)[:, columns]
    made = guarded(torch.full(expected.shape, float("nan")).half(), expected.shape[1] + 16, device)
    grouped._write(chosen(operands), columns, made.view)
    assert torch.equal(made.view, expected)
    assert made.is_inside()


@pytest.mark.bug("MK-01 MK-02 L-01")
@of_each_tile
@pytest.mark.parametrize(("M", "N", "K"), [(1, 16, 32), (65, 144, 96), (129, 272, 64)])
def test_a_product_is_written_to_its_block_and_nothing_else(M, N, K, tile, device):
    """Rows of x, W and out are apart, as those of a panel are."""
    maker = torch.Generator().manual_seed(M)
    x, w = (torch.randint(-4, 5, size, generator=maker).half() for size in ((M, K), (K, N)))
    x_in, w_in = guarded(x, K + 16, device), guarded(w, N + 32, device)
    out = guarded(torch.full((M, N), float("nan")).half(), N + 48, device)
    plan = grouped_plan.plan(M, N, K, 32, torch.float16, 132, tile=tile)
    grouped._multiply(x_in.view, w_in.view, out.view, plan)
    assert torch.equal(out.view.cpu(), (x.float() @ w.float()).half())
    assert all(operand.is_inside() for operand in (x_in, w_in, out))


@of_each_tile
@pytest.mark.parametrize("g_idx", ["seq", "act"])
def test_panels_make_up_the_whole(g_idx, tile, monkeypatch, device):
    """528 columns, 256 at a time: of the last panel 16 are left."""
    operands = Operands(Case.parse("m3-n528-k64-b4-g32").replace(g_idx=g_idx), device)
    whole, made, empty = launch(operands, tile).view, [], torch.empty
    monkeypatch.setattr(grouped_plan, "MOST_WRITTEN", 64 * 256)
    monkeypatch.setattr(torch, "empty", lambda *a, **k: made.append(a[0]) or empty(*a, **k))
    out = launch(operands, tile)
    assert (64, 256) in made
    assert torch.equal(whole, rounded_once(operands))
    assert torch.equal(out.view, whole)
    assert out.is_inside()


@pytest.mark.bug("PF-04 LY-01")
@pytest.mark.parametrize("layout", ["pad8", "off3", "xt"])
def test_x_that_no_vector_fits_is_arranged_first(layout, device):
    """Rows, beginnings or columns that are not those of whole vectors."""
    operands = Operands(Case.parse(f"m5-n32-k96-b4-g32-act-{layout}"), device)
    out = launch(operands, DENSE[0])
    assert torch.equal(out.view, rounded_once(operands))
    assert operands.damage() is None


@pytest.mark.bug("L-06 OV-01")
def test_rows_of_x_past_two_billion_elements_are_multiplied(device):
    """Three rows in 4 GB, of which pages that are touched count."""
    operands = Operands(Case.parse("m3-n16-k64-b4-g32"), device)
    weights, plain = chosen(operands), operands.left
    memory = torch.empty(2**31 + 64, dtype=plain.dtype, device=device)
    far = memory.as_strided((3, 64), (2**30, 1)).copy_(plain)
    out = torch.empty(3, 16, dtype=plain.dtype, device=device)
    grouped.matmul(far, weights, out, grouped_plan.Plan(DENSE[0], 64, 1))
    assert torch.equal(out, rounded_once(operands))


@pytest.mark.parametrize(("N", "panels"), [(512, [256, 256]), (528, [256, 256, 16]), (16, [16])])
def test_no_panel_is_empty(N, panels, monkeypatch):
    """A grid without programs is an error to a GPU."""
    widths = []
    monkeypatch.setattr(grouped_plan, "MOST_WRITTEN", 64 * 256)
    monkeypatch.setattr(grouped, "_write", lambda weights, columns, made: None)
    monkeypatch.setattr(grouped, "_multiply", lambda x, w, out, plan: widths.append(w.shape[1]))
    x, out = torch.zeros(1, 64).half(), torch.zeros(1, N).half()
    grouped.matmul(x, None, out, grouped_plan.Plan(DENSE[0], 64, 1))
    assert widths == panels


GUARDED = """
import torch
from kernels.uniform_groups import plan as grouped_plan
from kernels.uniform_groups import product as grouped
from tests.end_of_memory import at_the_end_of_memory as at_end

for tile in grouped_plan.TILES.values():
    if tile.kind == grouped_plan.DENSE:
        operands = (at_end(torch.ones(shape).half()) for shape in ((5, 96), (96, 16), (5, 16)))
        grouped._multiply(*operands, grouped_plan.Plan(tile, 32, 1))
"""


@pytest.mark.bug("MK-01 MK-02 L-04")
@pytest.mark.skipif(torch.cuda.is_available(), reason="interpreter_only")
def test_nothing_past_the_end_of_x_or_the_written_weights_is_touched():
    """A page without access follows each of them."""
    subprocess.run([sys.executable, "-c", GUARDED], cwd=ROOT, check=True, timeout=120)
