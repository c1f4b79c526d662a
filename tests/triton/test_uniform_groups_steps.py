"""The steps of a product with groups of one size, each alone, between red zones."""

import pytest
import torch

from kernels.quant_linear import matmul248
from kernels.uniform_groups import plan
from kernels.uniform_groups import product as uniform
from tests.triton.products import far_apart, guarded, nans, problem, uniform_weights, weights_of

pytestmark = pytest.mark.turns(3)

DENSE = [name for name, tile in plan.TILES.items() if tile.kind == plan.DENSE]
M, K = 3, 320  # K ends within a program's ARRANGED columns; rows of x are 322 apart


def x_and_order(device):
    maker = torch.Generator().manual_seed(1)
    x = torch.randint(-8, 9, (M, K + 2), generator=maker).half().to(device)[:, :K]
    return x, torch.randperm(K, generator=maker).to(torch.int16).to(device)


FIELDS = [16, 8, 4]  # of a word of 2, 4 and 8 bits


def arrange(x, out, order, ordered, fields=0):
    uniform.arrange.run(x, out, order, K, *x.stride(), ordered, fields, grid=(M, 2))


def sort_columns(x, out, order, fields=0):
    uniform._sort_columns.run(x, out, order, K, *x.stride(), fields, 512, grid=(M,))


def interleaved(x, fields):
    """x [M, K] in the order in which a thread of the tensor cores holds whole words.

    Of 16 rows, it holds two pairs side by side and two eight further on: halves of word 0 for
    the first of four threads, of word 1 for the second.
    """
    columns = []
    for unit in range(0, x.shape[1], 4 * fields):
        for field in range(fields // 2):
            for word in range(4):
                first = unit + word * fields + field
                columns += [first, first + fields // 2]
    return x[:, columns]


@pytest.mark.bug("B-12 L-02")
@pytest.mark.parametrize("ordered", [False, True], ids=["as-they-lie", "ordered"])
def test_x_is_arranged_into_its_rows_and_nothing_else(ordered, device):
    (x, order), out = x_and_order(device), nans(M, K, device)
    arrange(x, out.view, order, ordered)
    assert torch.equal(out.view, x[:, order.long()] if ordered else x)
    assert out.is_inside()


@pytest.mark.parametrize("fields", FIELDS)
def test_columns_are_interleaved_after_they_are_ordered(fields, device):
    (x, order), out = x_and_order(device), nans(M, K, device)
    arrange(x, out.view, order, True, fields)
    assert torch.equal(out.view, interleaved(x[:, order.long()], fields))
    assert out.is_inside()


@pytest.mark.parametrize("fields", [0, *FIELDS])
def test_columns_are_sorted_into_their_rows_and_nothing_else(fields, device):
    (x, order), out = x_and_order(device), nans(M, K, device)
    sort_columns(x, out.view, order, fields)
    ordered = x[:, order.long()]
    assert torch.equal(out.view, interleaved(ordered, fields) if fields else ordered)
    assert out.is_inside()


@pytest.mark.bug("L-06 OV-01")
def test_rows_of_x_past_two_billion_elements_are_arranged(device):
    x, order = x_and_order(device)
    far, out = far_apart(x, 2**30, device), torch.empty(M, K, dtype=x.dtype, device=device)
    arrange(far, out, order, False)
    assert torch.equal(out, x)
    sort_columns(far, out, order)
    assert torch.equal(out, x[:, order.long()])


@pytest.mark.bug("OV-01")
@pytest.mark.gpu
def test_shares_past_two_billion_elements_are_added(device):
    """Two of 2**30 elements and more, in 9 GB: 65,568 rows of 16,384 columns."""
    operands = problem("m65568-n16384-k256-b4-gall-sparse", device)
    weights, out = uniform_weights(operands), torch.empty(65568, 16384, device=device).half()
    uniform.matmul(operands.left, weights, out, plan.Plan(plan.TILES["few16"], 64, 2))
    last = slice(-32, None)
    x = operands.left[last].clone()
    expected = torch.empty(32, 16384, device=device).half()
    uniform.matmul(x, weights, expected, plan.Plan(plan.TILES["few16"], 64, 2))
    assert torch.equal(out[last], expected)


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
