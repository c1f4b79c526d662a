"""Every launch config that pruning keeps gives the right answer, whichever the tuner would pick."""

import pytest
import torch

import reference.matmul
from gptq_fuzz.case.case import Case
from gptq_fuzz.problem.operands import Operands
from kernels.custom_autotune import matmul248_kernel_config_pruner
from kernels.quant_linear import (
    matmul248,
    matmul_248_kernel,
    transpose_matmul248,
    transpose_matmul_248_kernel,
)

# product -> its tuner and the reference
PRODUCTS = {
    matmul248: (matmul_248_kernel, reference.matmul.matmul),
    transpose_matmul248: (transpose_matmul_248_kernel, reference.matmul.gradient),
}
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


def rounded_once(product, operands):
    weights = operands.weights()
    del weights["bias"]
    return PRODUCTS[product][1](operands.left, **weights).to(operands.left.dtype)


def kept_configs(product, case):
    tuner = PRODUCTS[product][0]
    shape = {"M": case.m, "N": case.n, "K": case.k}
    return list(matmul248_kernel_config_pruner(tuner.configs, shape))


def launch(product, operands, config):
    """The result in poisoned memory between red zones."""
    weights, bits = operands.weights(), operands.case.bits
    tensors = {name: weights[name] for name in ("qweight", "scales", "qzeros", "g_idx")}
    out = operands.output()
    product(operands.left, **tensors, bits=bits, maxq=2**bits - 1, out=out.view, config=config)
    return out


@pytest.mark.bug("GI-07 L-01 L-44 B-12 AT-15 museum-1 museum-29 museum-30")
@pytest.mark.parametrize("dtype", ["f16", pytest.param("bf16", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.__name__)
def test_every_config_that_pruning_keeps_is_right(product, problem, dtype, device):
    """Each into fresh NaN."""
    case = Case.parse(problem).replace(dtype=dtype, backward=product is transpose_matmul248)
    operands = Operands(case, device)
    expected = rounded_once(product, operands)
    for config in kept_configs(product, case):
        out = launch(product, operands, config)
        wrong = int((out.view != expected).sum())
        assert wrong == 0, f"{wrong} of {expected.numel()} wrong in {case} with {config}"
        assert out.is_inside(), f"{config} writes outside the result of {case}"
        assert operands.damage() is None, f"{config} writes to an operand of {case}"


@pytest.mark.bug("MK-13 museum-19")
@pytest.mark.gpu
@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.__name__)
def test_more_blocks_of_rows_than_a_grid_dimension_holds(product, device):
    """65,537 blocks of 16 rows; the second and third dimension hold 65,535."""
    case = Case.parse(f"m{65536 * 16 + 1}-n8-k8-b4-g4")
    operands = Operands(case.replace(backward=product is transpose_matmul248), device)
    configs = kept_configs(product, case)
    smallest = min(configs, key=lambda config: config.kwargs["BLOCK_SIZE_M"])
    assert smallest.kwargs["BLOCK_SIZE_M"] == 16
    out = launch(product, operands, smallest)
    assert torch.equal(out.view, rounded_once(product, operands))
    assert out.is_inside()
