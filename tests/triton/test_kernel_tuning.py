"""What a tuned config of the kernels holds for, and when their accesses are as wide as can be."""

import pytest
import torch

from kernels import operators
from kernels.quant_linear import matmul_248_kernel, transpose_matmul_248_kernel

KERNELS = {"forward": matmul_248_kernel, "backward": transpose_matmul_248_kernel}


@pytest.mark.bug("AT-10 L-30")
@pytest.mark.parametrize("direction", KERNELS)
def test_a_winner_holds_for_sizes_bits_and_alignment(direction):
    """Another M, N, K, number of groups or width of codes is timed anew."""
    assert set(KERNELS[direction].key) >= {"M", "N", "K", "G", "bits", "ALIGNED"}


def operands(**changes):
    """rows, qweight, out_rows, scales, qzeros, g_idx of a product that can be read in vectors."""
    made = {
        "rows": torch.zeros(3, 64), "qweight": torch.zeros(16, 32), "out_rows": torch.zeros(3, 32),
        "scales": torch.zeros(2, 32), "qzeros": torch.zeros(2, 8), "g_idx": torch.zeros(64),
    }  # fmt: skip
    return (made | changes).values()


@pytest.mark.bug("PF-04")
def test_plain_operands_are_read_in_vectors():
    """Or every launch is a slow one."""
    assert operators._is_aligned(*operands())


@pytest.mark.bug("PF-04")
@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("rows", torch.zeros(3, 72)[:, :64]),  # rows 8 elements apart from where they should be
        ("rows", torch.zeros(64, 3).t()),
        ("rows", torch.zeros(3, 60)),
        ("rows", torch.zeros(3, 64)[:, :60]),
        ("qweight", torch.zeros(16, 64)[:, ::2]),
        ("out_rows", torch.zeros(3, 40)[:, :32]),
        ("scales", torch.zeros(2, 24)),
        ("qzeros", torch.zeros(2, 16)[:, ::2]),
        ("g_idx", torch.zeros(128)[::2]),
    ],
)
def test_operands_that_lie_otherwise_are_not(name, tensor):
    assert not operators._is_aligned(*operands(**{name: tensor}))
