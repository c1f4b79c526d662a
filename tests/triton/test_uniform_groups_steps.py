"""The steps of a product with groups of one size, each alone, between red zones."""

import pytest
import torch

from kernels.quant_linear import matmul248
from kernels.uniform_groups import plan
from kernels.uniform_groups import product as uniform
from tests.triton.products import far_apart, guarded, nans, problem, uniform_weights, weights_of

DENSE = [name for name, tile in plan.TILES.items() if tile.kind == plan.DENSE]
M, K = 3, 288  # K ends within a program's ARRANGED columns; rows of x are 290 apart


def x_and_order(device):
    maker = torch.Generator().manual_seed(1)
    x = torch.randint(-8, 9, (M, K + 2), generator=maker).half().to(device)[:, :K]
    return x, torch.randperm(K, generator=maker).to(torch.int16).to(device)


def arrange(x, out, order, ordered, interleave):
    uniform._arrange.run(x, out, order, K, *x.stride(), ordered, interleave, grid=(M, 2))


def sort_columns(x, out, order):
    uniform._sort_columns.run(x, out, order, K, *x.stride(), 512, grid=(M,))


@pytest.mark.bug("B-12 L-02")
@pytest.mark.parametrize("ordered", [False, True], ids=["as-they-lie", "ordered"])
def test_x_is_arranged_into_its_rows_and_nothing_else(ordered, device):
    (x, order), out = x_and_order(device), nans(M, K, device)
    arrange(x, out.view, order, ordered, False)
    assert torch.equal(out.view, x[:, order.long()] if ordered else x)
    assert out.is_inside()


def test_interleaved_columns_stay_within_their_32(device):
    (x, order), out = x_and_order(device), nans(M, K, device)
    arrange(x, out.view, order, True, True)
    ordered = x[:, order.long()].view(M, K // 32, 32)
    assert torch.equal(out.view.view(M, K // 32, 32).sort(2).values, ordered.sort(2).values)
    assert not torch.equal(out.view.view(M, K // 32, 32), ordered)
    assert out.is_inside()


def test_columns_are_sorted_into_their_rows_and_nothing_else(device):
    (x, order), out = x_and_order(device), nans(M, K, device)
    sort_columns(x, out.view, order)
    assert torch.equal(out.view, x[:, order.long()])
    assert out.is_inside()


@pytest.mark.bug("L-06 OV-01")
def test_rows_of_x_past_two_billion_elements_are_arranged(device):
    x, order = x_and_order(device)
    far, out = far_apart(x, 2**30, device), torch.empty(M, K, dtype=x.dtype, device=device)
    arrange(far, out, order, False, False)
    assert torch.equal(out, x)
    sort_columns(far, out, order)
    assert torch.equal(out, x[:, order.long()])


@pytest.mark.parametrize("block", uniform.ADDED)
def test_shares_are_added_into_the_result_and_nothing_else(block, device):
    parts = torch.arange(4.0 * 300, device=device).view(4, 300)
    out = nans(1, 300, device)
    uniform._add_parts[block].run(parts, out.view, 300, 4, grid=(-(-300 // block),))
    assert torch.equal(out.view[0], parts.sum(0).half())
    assert out.is_inside()


@pytest.mark.bug("OV-01")
@pytest.mark.gpu
def test_shares_past_two_billion_elements_are_added(device):
    """The first block of three shares, in 9 GB."""
    parts = far_apart(torch.arange(3.0 * 256).view(3, 256), 2**30, device)
    out = torch.empty(256, dtype=torch.float16, device=device)
    uniform._add_parts[256].run(parts, out, 2**30, 3, grid=(1,))
    assert torch.equal(out, parts.sum(0).half())


@pytest.mark.bug("B-12 L-02 GI-07")
@pytest.mark.parametrize("g_idx", ["seq", "act"])
@pytest.mark.parametrize("columns", [slice(0, 272), slice(256, 512), slice(512, 528)])
def test_weights_are_written_to_their_rows_and_nothing_else(columns, g_idx, device):
    """K and N end within a program's block; rows of W are 16 too far apart."""
    operands = problem("m1-n528-k96-b4-g32", device, g_idx=g_idx)
    identity = torch.eye(96, dtype=torch.float16, device=device)
    expected = matmul248(identity, **weights_of(operands), bits=4, maxq=15)[:, columns]
    width = expected.shape[1]
    w = nans(96, width, device, row=width + 16)
    uniform._write(uniform_weights(operands), columns, w.view)
    assert torch.equal(w.view, expected)
    assert w.is_inside()


@pytest.mark.bug("MK-01 MK-02 L-01")
@pytest.mark.parametrize(
    "name", [name for name, tile in plan.TILES.items() if tile.kind == "dense"]
)
@pytest.mark.parametrize(("M", "N", "K"), [(1, 16, 32), (65, 144, 96), (129, 272, 64)])
def test_a_product_is_written_to_its_block_and_nothing_else(M, N, K, name, device):
    """Rows of x, W and out are apart, as those of a panel are."""
    maker = torch.Generator().manual_seed(M)
    x, w = (torch.randint(-4, 5, size, generator=maker).half() for size in ((M, K), (K, N)))
    x_in, w_in = guarded(x, device, K + 16), guarded(w, device, N + 32)
    out = nans(M, N, device, row=N + 48)
    chosen = plan.plan(M, N, K, 32, torch.float16, 132, tile=plan.TILES[name])
    uniform._multiply(x_in.view, w_in.view, out.view, chosen)
    assert torch.equal(out.view.cpu(), (x.float() @ w.float()).half())
    assert all(operand.is_inside() for operand in (x_in, w_in, out))
