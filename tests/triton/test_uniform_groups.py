"""The kernels for weights in groups of one size: every block, every share, every order."""

import pytest
import torch

from gptq_fuzz.adapters.triton import TRITON
from gptq_fuzz.case.case import Case
from gptq_fuzz.oracle.examination import Examination, Request
from kernels.quant_linear import matmul248, transpose_matmul248
from kernels.uniform_groups import plan, row_order
from kernels.uniform_groups import product as uniform
from tests.triton.products import (
    far_apart,
    launch,
    of_both_dtypes,
    problem,
    require_right,
    rounded_once,
    uniform_weights,
    weights_of,
)

pytestmark = pytest.mark.turns(3)

PORTABLE = [tile for tile in plan.TILES.values() if tile.kind != plan.WGMMA]
DENSE = [tile for tile in plan.TILES.values() if tile.kind == plan.DENSE]
# Groups are blocks of 32 and more rows, N fills vectors of 16. The fill is exact.
PROBLEMS = [
    "m1-n16-k32-b4-gall",  # one step of K, most of a block of columns past N
    "m1-n144-k512-b4-g128-act",  # a block and a vector of columns; shares of K
    "m16-n128-k2048-b4-g128",  # eight shares
    "m15-n48-k480-b4-g96-act",  # steps of 32 rows, three to a group
    "m17-n256-k256-b4-g64-rev",  # one row past a block
    "m64-n16-k1088-b4-gall",  # one group of many steps of 64: 17 of them in shares
    "m129-n32-k256-b4-g128-act",
    "m257-n16-k64-b4-g32",  # two rows of blocks past the largest one
    "m16-n144-k512-b2-g64-act",
    "m65-n32-k384-b2-g128",  # three steps of as many rows as 32 words hold
    "m3-n32-k160-b8-g32-act",
    "m130-n144-k256-b8-g128",
]


@pytest.mark.bug("GI-07 L-01 B-12 museum-29")
@pytest.mark.parametrize("tile", PORTABLE, ids=lambda tile: tile.name)
@of_both_dtypes
@pytest.mark.parametrize("line", PROBLEMS)
def test_every_block_is_right(line, dtype, tile, device):
    """Into fresh NaN, whatever the plan would choose."""
    require_right(problem(line, device, dtype=dtype), tile)


@pytest.mark.bug("GI-07 B-12")
@of_both_dtypes
@pytest.mark.parametrize(
    "line",
    ["m1-n16-k32-b4-g32", "m65-n144-k512-b4-g128-act", "m130-n272-k192-b2-g64-rev",
     "m5-n48-k96-b8-gall-pad8", "m3-n528-k256-b4-g32-act"],
)  # fmt: skip
def test_the_gradient_is_right(line, dtype, device):
    """The end of N is the end of the sums now, that of K the end of the columns."""
    operands = problem(line, device, transpose_matmul248, dtype=dtype)
    assert uniform_weights(operands) is not None
    require_right(operands, None)


@pytest.mark.parametrize("shares", [1, 2, 4, 8])
@pytest.mark.parametrize("name", ["few16", "many32"])
def test_any_number_of_shares_gives_the_same(name, shares, device):
    """Also more shares than steps of K: 5 steps leave shares without any."""
    operands = problem("m3-n32-k160-b4-g32-act", device)
    weights, out = uniform_weights(operands), torch.full((3, 32), float("nan")).half().to(device)
    uniform.matmul(operands.left, weights, out, plan.Plan(plan.TILES[name], 32, shares))
    assert torch.equal(out, rounded_once(operands))


@pytest.mark.parametrize(
    "line",
    [
        "m1-n16-k64-b2-g32",  # groups smaller than what four words of a column hold
        "m1-n24-k64-b4-g32",  # columns that fill no vector
        "m1-n16-k64-b4-g16",  # groups smaller than a step
        "m1-n16-k96-b4-g64",  # a last group of other size
        "m1-n16-k64-b4-g32-skew",  # groups of unequal sizes
        "m1-n16-k64-b4-g32-gap",  # a group without rows
    ],
)
def test_other_weights_take_the_general_kernel(line, device):
    operands = problem(line, device)
    assert uniform_weights(operands) is None
    assert torch.equal(launch(operands, None).view, rounded_once(operands))
    with pytest.raises(ValueError, match="few16 wants weights in groups of one size"):
        launch(operands, plan.TILES["few16"])


@pytest.mark.bug("B-22 L-74")
@pytest.mark.parametrize("name", ["qweight", "g_idx", "qzeros", "scales"])
def test_weights_written_in_place_are_seen(name, device):
    """Rows sorted before belong to the weights as they were."""
    first, other = (problem(f"m2-n16-k128-b4-g32-act-s{seed}", device) for seed in (1, 2))
    launch(first, None)
    first.weights()[name].copy_(other.weights()[name])
    assert torch.equal(launch(first, None).view, rounded_once(first))


def test_words_written_anew_are_sorted_into_the_same_memory(device):
    """A CUDA graph has recorded where they are."""
    operands = problem("m2-n16-k128-b4-g32-act", device)
    before = uniform_weights(operands).qweight
    operands.weights()["qweight"].neg_()
    after = uniform_weights(operands).qweight
    assert after.data_ptr() == before.data_ptr()
    weights, order = operands.weights(), uniform_weights(operands).order
    expected = row_order.sorted_words(weights["qweight"].clone(), weights["g_idx"], order, 4)
    assert torch.equal(after, expected)


def test_inference_tensors_are_not_kept(device):
    """Writes to them are not counted, so sorted rows could be those of other weights."""
    with torch.inference_mode():
        operands = problem("m2-n16-k128-b4-g32-act", device)
        assert uniform_weights(operands) is None
        assert torch.equal(launch(operands, None).view, rounded_once(operands))


@pytest.mark.bug("DT-03")
@pytest.mark.parametrize("tile", ["few16", "many32", "many128"])
@pytest.mark.parametrize("scales", ["sf32", pytest.param("sbf16", marks=pytest.mark.gpu)])
def test_scales_of_another_dtype_give_weights_that_are_rounded_once(scales, tile, device):
    """In the way of each kind of block."""
    line = f"m17-n32-k128-b4-g32-act-{scales}-randn-cfg.{tile}"
    case = Case.parse(line, TRITON.limits.tokens)
    verdict = Examination(TRITON, case, str(device), Request()).verdict()
    assert verdict.ok, verdict.headline()


@pytest.mark.bug("GI-08 MK-12 LY-01")
@pytest.mark.parametrize(
    "strides", [(64, 16, 1), (72, 24, 1), (80, 24, 1), (200, 48, 3), (1, 6, 18)]
)
@pytest.mark.parametrize("tile", ["few16", "many32"])
def test_a_result_of_any_strides_is_written_and_nothing_else(tile, strides, device):
    operands = problem("m6-n16-k64-b4-g32", device)
    memory = torch.full((2000,), float("nan"), dtype=torch.float16, device=device)
    out, x = memory.as_strided((2, 3, 16), strides), operands.left.view(2, 3, 64)
    weights = weights_of(operands)
    matmul248(x, **weights, bits=4, maxq=15, out=out, config=plan.TILES[tile])
    assert torch.equal(out, rounded_once(operands).view(2, 3, 16))
    assert int((~memory.isnan()).sum()) == out.numel()


@pytest.mark.bug("L-06 OV-01")
@pytest.mark.parametrize(
    ("name", "apart"), [("scales", 2**30), pytest.param("qweight", 2**28, marks=pytest.mark.gpu)]
)  # 4 GB, and 12
def test_weights_past_two_billion_elements_are_read(name, apart, device):
    """Three groups, twelve rows of words."""
    operands = problem("m1-n16-k96-b4-g32", device)
    weights = weights_of(operands)
    weights[name] = far_apart(weights[name], apart, device)
    out = matmul248(operands.left, **weights, bits=4, maxq=15)
    assert torch.equal(out, rounded_once(operands))


@pytest.mark.parametrize("tile", DENSE, ids=lambda tile: tile.name)
@pytest.mark.parametrize("g_idx", ["seq", "act"])
def test_panels_make_up_the_whole(g_idx, tile, monkeypatch, device):
    """528 columns, 256 at a time: of the last panel 16 are left."""
    operands = problem("m3-n528-k64-b4-g32", device, g_idx=g_idx)
    whole, sizes, empty = launch(operands, tile).view, [], torch.empty
    monkeypatch.setattr(plan, "MOST_WRITTEN", 64 * 256)
    monkeypatch.setattr(torch, "empty", lambda *a, **k: sizes.append(a[0]) or empty(*a, **k))
    require_right(operands, tile)
    assert (64, 256) in sizes
    assert torch.equal(whole, rounded_once(operands))


@pytest.mark.bug("PF-04 LY-01")
@pytest.mark.parametrize("layout", ["pad8", "off3", "xt"])
def test_x_that_no_vector_fits_is_arranged_first(layout, device):
    """Rows, beginnings or columns that are not those of whole vectors."""
    require_right(problem(f"m5-n32-k96-b4-g32-act-{layout}", device), DENSE[0])


@pytest.mark.bug("L-06 OV-01")
def test_rows_of_x_past_two_billion_elements_are_multiplied(device):
    """Three rows in 4 GB, of which pages that are touched count."""
    operands = problem("m3-n16-k64-b4-g32", device)
    far = far_apart(operands.left, 2**30, device)
    out = torch.empty(3, 16, dtype=far.dtype, device=device)
    uniform.matmul(far, uniform_weights(operands), out, plan.Plan(DENSE[0], 64, 1))
    assert torch.equal(out, rounded_once(operands))


@pytest.mark.parametrize(("N", "panels"), [(512, [256, 256]), (528, [256, 256, 16]), (16, [16])])
def test_no_panel_is_empty(N, panels, monkeypatch):
    """A grid without programs is an error to a GPU."""
    widths = []
    monkeypatch.setattr(plan, "MOST_WRITTEN", 64 * 256)
    monkeypatch.setattr(uniform, "_write", lambda weights, columns, w: None)
    monkeypatch.setattr(uniform, "_multiply", lambda x, w, out, plan: widths.append(w.shape[1]))
    x, out = torch.zeros(1, 64).half(), torch.zeros(1, N).half()
    uniform.matmul(x, None, out, plan.Plan(DENSE[0], 64, 1))
    assert widths == panels


def test_more_blocks_of_rows_than_any_block_has_sides_are_all_written(device):
    """129 blocks of 64 rows: a band that took its height from a block's side would end at 128."""
    operands = problem("m8256-n16-k32-b4-g32-sparse", device)
    assert torch.equal(launch(operands, plan.TILES["dense64x128"]).view, rounded_once(operands))
