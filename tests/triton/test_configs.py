"""Launch configs of the general kernels: each is right, and what a winner holds for."""

import pytest
import torch

from kernels import operators
from kernels.quant_linear import matmul_248_kernel, transpose_matmul_248_kernel
from tests.triton.products import (
    both_products,
    launch,
    of_both_dtypes,
    problem,
    pruned_configs,
    require_right,
    rounded_once,
    tuner_of,
)

pytestmark = pytest.mark.turns(3)

# Blocks have sides of 16, 32, 64 and 128. The fill is exact: nothing but the result is rounded.
PROBLEMS = [
    "m1-n4-k4-b8-gall",  # one word of everything, every side above the problem
    "m1-n8-k8-b4-g4",
    "m1-n16-k16-b2-g8",
    "m1-n136-k264-b4-g128",  # a single row: blocks of M shrink to 16, those of N and K do not
    "m15-n24-k40-b4-g8-rev",  # all sides between blocks
    "m15-n36-k132-b8-g12-skew",  # groups that no block divides
    "m16-n64-k64-b4-g32-act",  # all sides are blocks
    "m16-n32-k128-b2-g32",
    "m17-n40-k96-b4-g32-act",  # one row and one word past a block, half a block of K
    "m17-n48-k80-b2-g16-gap",
    "m33-n128-k72-b4-g1",  # every row of K is its own group
    "m64-n72-k136-b4-g16",  # one word past blocks of N and K
    "m65-n132-k36-b8-g36-z0",  # one row past the largest block but one
    "m129-n24-k16-b4-gall",  # one row past the largest block
]
NOT_PRUNED = ["m17-n40-k96-b4-g32-act", "m1-n16-k16-b2-gall", "m70-n136-k72-b8-g9"]


@pytest.mark.bug("GI-07 L-01 L-44 B-12 AT-15 museum-1 museum-29 museum-30")
@of_both_dtypes
@pytest.mark.parametrize("line", PROBLEMS)
@both_products
def test_every_config_that_pruning_keeps_is_right(product, line, dtype, device):
    """Each into fresh NaN, whichever the tuner would pick."""
    operands = problem(line, device, product, dtype=dtype)
    for config in pruned_configs(operands):
        require_right(operands, config)


@pytest.mark.bug("L-01 L-30 L-44 GI-07 B-08 B-11 B-12 AT-15")
@pytest.mark.parametrize("line", NOT_PRUNED)
@both_products
def test_every_config_is_right_as_it_is(product, line, device):
    operands = problem(line, device, product)
    for config in (*tuner_of(operands).configs, *pruned_configs(operands)):
        require_right(operands, config)


@pytest.mark.bug("MK-13 museum-19")
@pytest.mark.gpu
@both_products
def test_more_blocks_of_rows_than_a_grid_dimension_holds(product, device):
    """65,537 blocks of 16 rows; the second and third dimension hold 65,535."""
    operands = problem(f"m{65536 * 16 + 1}-n8-k8-b4-g4", device, product)
    smallest = min(pruned_configs(operands), key=lambda config: config.kwargs["BLOCK_SIZE_M"])
    assert smallest.kwargs["BLOCK_SIZE_M"] == 16
    out = launch(operands, smallest)
    assert torch.equal(out.view, rounded_once(operands))
    assert out.is_inside()


@pytest.mark.bug("AT-10 L-30")
@pytest.mark.parametrize("tuner", [matmul_248_kernel, transpose_matmul_248_kernel])
def test_a_winner_holds_for_sizes_bits_and_alignment(tuner):
    """Another M, N, K, number of groups or width of codes is timed anew."""
    assert set(tuner.key) >= {"M", "N", "K", "G", "bits", "ALIGNED"}


VECTORS = {  # operands that can be read in vectors
    "rows": torch.zeros(3, 64), "qweight": torch.zeros(16, 32), "out_rows": torch.zeros(3, 32),
    "scales": torch.zeros(2, 32), "qzeros": torch.zeros(2, 8), "g_idx": torch.zeros(64),
}  # fmt: skip


@pytest.mark.bug("PF-04")
def test_plain_operands_are_read_in_vectors():
    """Or every launch is a slow one."""
    assert operators._is_aligned(*VECTORS.values())


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
    assert not operators._is_aligned(*(VECTORS | {name: tensor}).values())
