"""The products of Hopper's warpgroups: nobody interprets Gluon, so most of it wants a GPU."""

import warnings

import pytest
import torch

from kernels.quant_linear import matmul248
from kernels.uniform_groups import plan, wgmma, wgmma_kernel
from kernels.uniform_groups import product as uniform
from tests.triton.products import problem, require_right, rounded_once, uniform_weights, weights_of

TILES = [pytest.param(tile, id=tile.name) for tile in plan.WGMMA_TILES]
PROBLEMS = [
    "m1-n32-k128-b4-gall",  # a step, most of a block of columns past N
    "m16-n128-k1024-b4-g64",  # sixteen steps of 64
    "m17-n160-k1152-b4-g128-act",  # nine steps: an odd one left, shares of two sizes
    "m64-n64-k640-b8-g128",
    "m65-n288-k512-b8-g64-act",  # columns past two blocks, rows past one
    "m129-n128-k1280-b2-g128-act",
    "m300-n192-k512-b2-gall",
    "m257-n96-k192-b4-g64-rev",
]


@pytest.fixture
def hopper(device):
    device = torch.empty(0, device=device).device  # with its number
    if torch.cuda.get_device_capability(device)[0] != wgmma.CAPABILITY:
        pytest.skip("hopper_only")
    assert wgmma.usable(device)
    return device


@pytest.mark.gpu
@pytest.mark.bug("GI-07 L-01 L-02 B-12")
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("dtype", ["f16", "bf16"])
@pytest.mark.parametrize("line", PROBLEMS)
def test_every_block_is_right(line, dtype, tile, hopper):
    operands = problem(line, hopper, dtype=dtype, scales_dtype=f"s{dtype}")
    assert uniform.serves(tile, uniform_weights(operands))
    require_right(operands, tile)


@pytest.mark.gpu
@pytest.mark.parametrize("layout", ["off1", "off8", "pad3", "pad8", "bcast", "xt", "lap8"])
@pytest.mark.parametrize("order", ["", "-act"])
def test_any_layout_of_x_is_read_or_copied(layout, order, hopper):
    for rows, tile in (1, plan.WGMMA_TILES[0]), (24, plan.WGMMA_TILES[2]):
        require_right(problem(f"m{rows}-n64-k256-b4-g128{order}-{layout}", hopper), tile)


@pytest.mark.gpu
@pytest.mark.parametrize("shares", [1, 2, 4, 8])
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("k", [1024, 1152, 1920])  # 8, 9 and 15 steps of 128
def test_any_number_of_shares_gives_the_same(k, tile, shares, hopper):
    operands = problem(f"m40-n160-k{k}-b4-g128-act", hopper)
    weights, nan = uniform_weights(operands), float("nan")
    out = torch.full((40, 160), nan, dtype=torch.float16, device=hopper)
    uniform.matmul(operands.left, weights, out, plan.Plan(tile, tile.most_k, shares))
    assert torch.equal(out, rounded_once(operands))


@pytest.mark.gpu
@pytest.mark.bug("museum-29")
@pytest.mark.parametrize("tile", TILES)
def test_thousands_of_repeats_give_the_same_bits(tile, hopper):
    """A slot that is given back too early spoils one run of hundreds."""
    operands = problem("m133-n288-k4096-b4-g128-randn", hopper)
    weights, chosen = uniform_weights(operands), plan.Plan(tile, tile.most_k, 2)
    first = torch.empty(133, 288, dtype=torch.float16, device=hopper)
    uniform.matmul(operands.left, weights, first, chosen)
    out, differ = torch.empty_like(first), torch.zeros(1, dtype=torch.int64, device=hopper)
    for _ in range(4000):
        uniform.matmul(operands.left, weights, out, chosen)
        differ += (out != first).any()
    assert differ.item() == 0


@pytest.mark.gpu
@pytest.mark.parametrize(
    "line",
    ["m1-n48-k128-b4-g128", "m1-n32-k128-b4-g32", "m1-n64-k128-b2-g64", "m1-n64-k128-b4-g64-sf32"],
)
def test_other_weights_are_refused_by_name_and_taken_by_other_kernels(line, hopper):
    operands, tile = problem(line, hopper), plan.WGMMA_TILES[0]
    given = weights_of(operands) | {"bits": operands.case.bits, "maxq": operands.case.maxq}
    with pytest.raises(
        ValueError, match="wgmma16x64 wants a Hopper GPU and weights as TMA reads them"
    ):
        matmul248(operands.left, **given, config=tile)
    assert torch.equal(matmul248(operands.left, **given), rounded_once(operands))


@pytest.mark.gpu
def test_a_gluon_that_computes_otherwise_is_left_alone(monkeypatch, hopper):
    """One warning, then the kernels that every Triton has."""
    monkeypatch.setattr(wgmma, "_usable", {})
    monkeypatch.setattr(wgmma, "launch", lambda weights, x, out, *rest: out.zero_())
    with pytest.warns(RuntimeWarning, match="a product of whole numbers was wrong"):
        assert not wgmma.usable(hopper)
    operands = problem("m1-n64-k128-b4-g64", hopper)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = matmul248(operands.left, **weights_of(operands), bits=4, maxq=15)
    assert torch.equal(out, rounded_once(operands))


def test_a_cpu_has_no_warpgroups():
    assert not wgmma.usable(torch.device("cpu"))


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("dtype", wgmma_kernel.FORMATS)
def test_numbers_hold_every_code_exactly(bits, dtype):
    """What the constants of the PTX say: (2**m + q 2**p) 2**-p - (2**(m - p) + z) is q - z."""
    _, _, mantissa = wgmma_kernel.FORMATS[dtype]
    place = wgmma_kernel.place_of_second(bits, dtype)
    assert place + bits <= mantissa or (bits, dtype) == (8, "bf16")
