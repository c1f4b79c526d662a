"""Which weights the kernels for groups of one size take, in which order, and by which plan."""

import pytest
import torch

from kernels.uniform_groups import plan, row_order
from kernels.uniform_groups import product as uniform
from kernels.uniform_groups.weights import UniformWeights

VECTORS = {  # 64 rows in two groups and 32 columns, read in vectors
    "qweight": torch.zeros(8, 32), "scales": torch.zeros(2, 32), "qzeros": torch.zeros(2, 4),
}  # fmt: skip


@pytest.mark.parametrize("qzeros", [torch.zeros(2, 4), torch.zeros(2, 5)[:, :4]])
def test_rows_of_whole_vectors_are_taken(qzeros):
    """Zero-points are few: their rows may begin anywhere."""
    assert uniform._fit(*(VECTORS | {"qzeros": qzeros}).values())


@pytest.mark.bug("PF-04 L-03 LY-02")
@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("qweight", torch.zeros(8, 24)),
        ("qweight", torch.zeros(8, 40)[:, :32]),
        ("qweight", torch.zeros(8, 64)[:, ::2]),
        ("scales", torch.zeros(2, 40)[:, :32]),
        ("scales", torch.zeros(2, 64)[:, ::2]),
        ("qzeros", torch.zeros(2, 8)[:, ::2]),
    ],
)
def test_other_weights_are_not(name, tensor):
    assert not uniform._fit(*(VECTORS | {name: tensor}).values())


@pytest.mark.bug("PF-04 LY-01")
def test_x_is_read_as_it_lies_where_its_rows_are_whole_vectors():
    """Or it is arranged first."""
    assert uniform._aligned(torch.zeros(3, 64))
    assert uniform._aligned(torch.zeros(3, 80)[:, :64])
    assert not uniform._aligned(torch.zeros(3, 72)[:, :64])
    assert not uniform._aligned(torch.zeros(64, 3).t())
    assert not uniform._aligned(torch.zeros(3, 128)[:, ::2])


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        (1, ["few16"]), (16, ["few16"]), (17, ["many32"]), (32, ["many32"]), (33, ["many64"]),
        (64, ["many64"]), (65, ["many128"]), (128, ["many128"]),
        (129, ["many128", "dense64x128", "dense128x128", "dense128x256"]),
    ],
)  # fmt: skip
def test_the_block_holds_all_rows_or_is_one_of_the_largest(rows, names):
    assert [tile.name for tile in plan._tiles(rows, False)] == names


@pytest.mark.parametrize("name", plan.TILES)
def test_a_tile_that_is_asked_for_is_taken(name):
    tile = plan.TILES[name]
    assert plan.plan(300, 256, 256, 4, 64, 132, tile=tile).tile is tile


def test_the_plan_follows_from_the_sizes():
    """Of Hopper, as measured there: benchmarks/NOTES.md."""
    choose, tiles = plan.plan, plan.TILES
    assert choose(1, 4096, 4096, 4, 128, 132) == (tiles["few16"], 64, 8)
    assert choose(16, 4096, 14336, 8, 32, 132).block_k == 32
    assert choose(17, 8192, 8192, 4, 128, 132) == (tiles["many32"], 128, 4)
    assert choose(256, 8192, 8192, 4, 128, 132) == (tiles["many128"], 128, 1)
    assert choose(256, 4096, 4096, 2, 128, 132) == (tiles["dense64x128"], 64, 1)
    assert choose(4096, 28672, 8192, 4, 128, 132) == (tiles["dense128x256"], 64, 1)
    assert choose(300, 64, 96, 4, 32, 132, tile=tiles["dense64x128"]).block_k == 32
    assert choose(1, 64, 64, 4, 32, 132).shares == 1


def test_the_plan_of_warpgroups_follows_from_the_sizes():
    def chosen(*sizes):
        tile, block_k, shares = plan.plan(*sizes, 132, tma=True)
        return f"{tile.name}.{block_k}.{shares}"

    assert chosen(1, 14336, 4096, 4, 128) == "wgmma16x128.128.2"
    assert chosen(32, 4096, 4096, 4, 128) == "wgmma32x64.128.2"
    assert chosen(64, 8192, 8192, 8, 64) == "wgmma64x64.64.1"
    assert chosen(128, 14336, 4096, 2, 128) == "wgmma128x128.128.1"
    assert chosen(256, 14336, 4096, 4, 128) == "wgmma256x128.64.1"
    assert chosen(256, 14336, 4096, 2, 256) == "wgmma256x128.128.1"
    assert chosen(16, 4096, 4096, 4, 32).startswith("few16")
    assert chosen(16, 4096, 4096, 2, 64).startswith("few16")


@pytest.mark.parametrize("tile", plan.WGMMA_TILES, ids=lambda tile: tile.name)
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_warpgroups_have_two_steps_and_more_in_shared_memory(bits, tile):
    block_k = plan.plan(300, 256, 512, bits, 128, 132, tile=tile).block_k
    assert 2 <= plan.wgmma_stages(tile, block_k, bits) <= 8


def test_a_cpu_counts_as_an_h200():
    """So that plans in the interpreter are those of the GPU that they were measured on."""
    assert plan.processors(torch.device("cpu")) == 132


@pytest.mark.parametrize(("rows", "blocks"), [(32, 1), (128, 4), (256, 8), (288, 0), (4096, 0)])
def test_up_to_eight_blocks_in_a_group_have_binaries_of_their_own(rows, blocks):
    packed = [torch.zeros(1)] * 3
    assert uniform._blocks_in_group(UniformWeights(*packed, 4, rows, None), 32) == blocks


def test_ordering_x_counts_where_weights_are_not_written_out():
    """4096 x 4096, 160 rows: in order the fused kernel is the faster, sorted the dense one."""
    sizes = (160, 4096, 4096, 4, 128, 132)
    assert plan.plan(*sizes).tile.kind == plan.MANY
    assert plan.plan(*sizes, True).tile.kind == plan.DENSE


@pytest.mark.parametrize(
    ("K", "N", "columns"),
    [(32, 16, 16), (2**13, 2**14, 2**14), (8192, 28672, 14336), (2**20, 1000, 256),
     (2**14, 2**13 + 16, 4352), (2**30, 512, 256)],
)  # fmt: skip
def test_no_more_weights_than_256_mib_are_written_out_at_a_time(K, N, columns):
    """But at least a block of columns; blocks of equal number, or they would idle."""
    assert plan.panel(K, N) == columns


def shuffled(K, G, seed=1):
    """g_idx [K] of G groups of one size, in no order."""
    maker = torch.Generator().manual_seed(seed)
    return (torch.arange(K) % G)[torch.randperm(K, generator=maker)].int()


@pytest.mark.parametrize(
    ("K", "dtype"), [(64, torch.int16), (2**15, torch.int16), (2**15 + 32, torch.int32)]
)
def test_the_order_sorts_rows_and_keeps_those_of_a_group_as_they_were(K, dtype):
    """16 bits number 2**15 rows."""
    g_idx = shuffled(K, 2)
    found = row_order.row_order(g_idx, 2)
    assert found.rows_per_group == K // 2
    assert found.order.dtype == dtype
    assert torch.equal(found.order.long(), torch.sort(g_idx, stable=True).indices)


@pytest.mark.bug("GI-07 L-01")
@pytest.mark.parametrize(
    ("g_idx", "G"),
    [
        ([0, 0, 1, 1, 0, 1, 1, 2], 3),  # 8 rows are no three groups of one size
        ([0, 1, 1, 1, 0, 1, 1, 1], 2),
        ([0, 1, 2, 3, 4, 5, 6, 7], 16),  # groups without rows: more groups than rows
        ([0, 0, 0, 0, 2, 2, 2, 2], 3),
    ],
)
def test_groups_of_other_sizes_have_no_such_order(g_idx, G):
    assert row_order.row_order(torch.tensor(g_idx).int(), G) is None


def test_rows_that_are_sorted_need_no_order():
    assert row_order.row_order(torch.tensor([0, 0, 1, 1]).int(), 2) == (2, None)


@pytest.mark.bug("L-74")
def test_words_are_sorted_once_until_something_is_written(monkeypatch):
    """Or every call would pay for it, or none would see new weights."""
    gathered = []
    gather = row_order._gather
    monkeypatch.setattr(row_order, "_gather", lambda *given: gathered.append(0) or gather(*given))
    g_idx = shuffled(64, 2)
    qweight = torch.randint(-(2**31), 2**31, (8, 16)).int()
    order = row_order.row_order(g_idx, 2).order
    first = row_order.sorted_words(qweight, g_idx, order, 4)
    assert row_order.sorted_words(qweight, g_idx, order, 4) is first
    assert len(gathered) == 1
    qweight.neg_()
    row_order.sorted_words(qweight, g_idx, order, 4)
    g_idx.copy_(g_idx.flip(0))
    row_order.sorted_words(qweight, g_idx, row_order.row_order(g_idx, 2).order, 4)
    assert len(gathered) == 3
