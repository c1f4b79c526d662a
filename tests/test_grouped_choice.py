"""Which weights the kernels for groups of one size take, which x as it lies, and which blocks."""

import pytest
import torch

from kernels import grouped


def weights(**changes):
    """qweight, scales, qzeros of 64 rows in two groups and 32 columns, as vectors are read."""
    made = {
        "qweight": torch.zeros(8, 32), "scales": torch.zeros(2, 32), "qzeros": torch.zeros(2, 4),
    }  # fmt: skip
    return (made | changes).values()


@pytest.mark.parametrize("qzeros", [torch.zeros(2, 4), torch.zeros(2, 5)[:, :4]])
def test_rows_of_whole_vectors_are_taken(qzeros):
    """Zero-points are few: their rows may begin anywhere."""
    assert grouped._fit(*weights(qzeros=qzeros))


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
    """PF-04, L-03, LY-02."""
    assert not grouped._fit(*weights(**{name: tensor}))


def test_x_is_read_as_it_lies_where_its_rows_are_whole_vectors():
    """PF-04, LY-01: or it is arranged first."""
    assert grouped._aligned(torch.zeros(3, 64))
    assert grouped._aligned(torch.zeros(3, 80)[:, :64])
    assert not grouped._aligned(torch.zeros(3, 72)[:, :64])
    assert not grouped._aligned(torch.zeros(64, 3).t())
    assert not grouped._aligned(torch.zeros(3, 128)[:, ::2])


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        (1, ["many16"]), (16, ["many16"]), (17, ["many32"]), (32, ["many32"]), (33, ["many64"]),
        (64, ["many64"]), (65, ["many128"]), (128, ["many128"]), (129, ["many128", "many256"]),
    ],
)  # fmt: skip
def test_the_block_holds_all_rows_or_is_one_of_the_largest(rows, names):
    few = ["few16"] if rows <= 16 else names
    assert [tile.name for tile in grouped._tiles(rows, torch.bfloat16)] == names
    assert [tile.name for tile in grouped._tiles(rows, torch.float16)] == few
