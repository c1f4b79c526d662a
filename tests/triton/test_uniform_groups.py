"""The kernels for 4-bit weights in groups of one size: every block, every share, every order."""

import pytest
import torch

from gptq_fuzz.case.case import Case
from gptq_fuzz.problem.operands import Operands
from kernels.uniform_groups import plan as grouped_plan
from kernels.uniform_groups import product as grouped
from kernels.uniform_groups import row_order
from tests.triton.uniform_groups import chosen, launch, rounded_once

# Groups are blocks of 32 and more rows, N fills vectors of 16. The fill is exact.
PROBLEMS = [
    "m1-n16-k32-b4-gall",  # one step of K, most of a block of columns past N
    "m1-n144-k512-b4-g128-act",  # a block and a vector of columns; shares of K
    "m16-n128-k2048-b4-g128",  # eight shares
    "m15-n48-k480-b4-g96-act",  # steps of 32 rows, three to a group
    "m17-n256-k256-b4-g64-rev",  # one row past a block
    "m64-n16-k1088-b4-gall",  # one group of many steps of 64: 17 of them in shares
    "m129-n32-k256-b4-g128-act",
    "m257-n16-k64-b4-g32",  # one row past the largest block
]


@pytest.mark.bug("GI-07 L-01 B-12 museum-29")
@pytest.mark.parametrize("tile", grouped_plan.TILES.values(), ids=lambda tile: tile.name)
@pytest.mark.parametrize("dtype", ["f16", pytest.param("bf16", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_block_is_right(problem, dtype, tile, device):
    """Into fresh NaN, whatever the plan would choose."""
    operands = Operands(Case.parse(problem).replace(dtype=dtype), device)
    out = launch(operands, tile)
    wrong = int((out.view != rounded_once(operands)).sum())
    assert wrong == 0, f"{wrong} of {out.view.numel()} wrong in {problem} with {tile.name}"
    assert out.is_inside(), f"{tile.name} writes outside the result of {problem}"
    assert operands.damage() is None, f"{tile.name} writes to an operand of {problem}"


@pytest.mark.parametrize("shares", [1, 2, 4, 8])
@pytest.mark.parametrize("name", ["few16", "many16"])
def test_any_number_of_shares_gives_the_same(name, shares, device):
    """Also more shares than steps of K: 5 steps leave shares without any."""
    operands = Operands(Case.parse("m3-n32-k160-b4-g32-act"), device)
    weights, out = chosen(operands), torch.full((3, 32), float("nan")).half().to(device)
    plan = grouped_plan.Plan(grouped_plan.TILES[name], 32, shares)
    grouped.matmul(operands.left, weights, out, plan)
    assert torch.equal(out, rounded_once(operands))


@pytest.mark.parametrize(
    "line",
    [
        "m1-n16-k64-b8-g32",  # other bits
        "m1-n24-k64-b4-g32",  # columns that fill no vector
        "m1-n16-k64-b4-g16",  # groups smaller than a step
        "m1-n16-k96-b4-g64",  # a last group of other size
        "m1-n16-k64-b4-g32-skew",  # groups of unequal sizes
        "m1-n16-k64-b4-g32-gap",  # a group without rows
    ],
)
def test_other_weights_take_the_general_kernel(line, device):
    operands = Operands(Case.parse(line), device)
    assert chosen(operands) is None
    assert torch.equal(launch(operands, None).view, rounded_once(operands))
    if operands.case.bits == 4:
        with pytest.raises(ValueError, match="few16 wants 4-bit weights in groups of one size"):
            launch(operands, grouped_plan.TILES["few16"])


@pytest.mark.bug("B-22 L-74")
@pytest.mark.parametrize("name", ["qweight", "g_idx", "qzeros", "scales"])
def test_weights_written_in_place_are_seen(name, device):
    """Rows sorted before belong to the weights as they were."""
    first, other = (Operands(Case.parse(f"m2-n16-k128-b4-g32-act-s{s}"), device) for s in (1, 2))
    launch(first, None)
    first.weights()[name].copy_(other.weights()[name])
    assert torch.equal(launch(first, None).view, rounded_once(first))


def test_words_written_anew_are_sorted_into_the_same_memory(device):
    """A CUDA graph has recorded where they are."""
    operands = Operands(Case.parse("m2-n16-k128-b4-g32-act"), device)
    before = chosen(operands).qweight
    operands.weights()["qweight"].neg_()
    after = chosen(operands).qweight
    assert after.data_ptr() == before.data_ptr()
    weights = operands.weights()
    expected = row_order.sorted_words(
        weights["qweight"].clone(), weights["g_idx"], chosen(operands).order
    )
    assert torch.equal(after, expected)


def test_inference_tensors_are_not_kept(device):
    """Writes to them are not counted, so sorted rows could be those of other weights."""
    with torch.inference_mode():
        operands = Operands(Case.parse("m2-n16-k128-b4-g32-act"), device)
        assert chosen(operands) is None
        assert torch.equal(launch(operands, None).view, rounded_once(operands))
