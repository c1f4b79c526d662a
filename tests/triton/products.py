"""Calls of both products with the operands of a case, and what they must give."""

import pytest
import torch

import reference.matmul
from gptq_fuzz.case.case import Case
from gptq_fuzz.problem.layouts import Guarded, Placement
from gptq_fuzz.problem.operands import Operands
from kernels.quant_linear import (
    matmul248,
    matmul_248_kernel,
    transpose_matmul248,
    transpose_matmul_248_kernel,
)
from kernels.uniform_groups import product as uniform

NAMES = ("qweight", "scales", "qzeros", "g_idx")
REFERENCE = {matmul248: reference.matmul.matmul, transpose_matmul248: reference.matmul.gradient}
both_products = pytest.mark.parametrize("product", REFERENCE, ids=lambda product: product.__name__)
of_both_dtypes = pytest.mark.parametrize(
    "dtype", ["f16", pytest.param("bf16", marks=pytest.mark.gpu)]  # the interpreter gets it wrong
)  # fmt: skip


def problem(line, device, product=matmul248, **changes):
    """Operands of the case; x [M, K], or the gradient [M, N] for the transposed product."""
    backward = product is transpose_matmul248
    return Operands(Case.parse(line).replace(backward=backward, **changes), device)


def product_of(operands):
    return transpose_matmul248 if operands.case.backward else matmul248


def tuner_of(operands):
    return transpose_matmul_248_kernel if operands.case.backward else matmul_248_kernel


def pruned_configs(operands):
    case = operands.case
    return tuner_of(operands).prune_configs({"M": case.m, "N": case.n, "K": case.k})


def weights_of(operands):
    """Name -> tensor, as the products take them."""
    weights = operands.weights()
    return {name: weights[name] for name in NAMES}


def run(operands, **options):
    """With the first config: timing all of them for every shape would take minutes on a GPU."""
    case, weights = operands.case, weights_of(operands)
    if "config" not in options:
        options["config"] = pruned_configs(operands)[0]
    if weights["g_idx"] is None:
        options["group_size"] = case.group_size
    maxq = 2**case.bits - 1
    return product_of(operands)(operands.left, **weights, bits=case.bits, maxq=maxq, **options)


def launch(operands, config):
    """The result in poisoned memory between red zones."""
    out = operands.output()
    run(operands, out=out.view, config=config)
    return out


def rounded_once(operands):
    """The float64 result, rounded once; on exact fills nothing else is ever rounded."""
    weights = operands.weights()
    del weights["bias"]
    product = REFERENCE[product_of(operands)]
    return product(operands.left, **weights).to(operands.left.dtype)


def uniform_weights(operands):
    """Those that the kernels for groups of one size take; None where the general kernel does."""
    weights = weights_of(operands).values()
    return uniform.uniform_weights(operands.left, *weights, operands.case.bits)


def require_right(operands, config):
    """The result is exact and whole, and nothing beside it is written."""
    out = launch(operands, config)
    wrong = int((out.view != rounded_once(operands)).sum())
    assert wrong == 0, f"{wrong} of {out.view.numel()} wrong in {operands.case} with {config}"
    assert out.is_inside(), f"{config} writes outside the result of {operands.case}"
    assert operands.damage() is None, f"{config} writes to an operand of {operands.case}"


def guarded(values, device, row=None):
    """A copy between red zones, its rows side by side or `row` elements apart."""
    return Guarded(values, Placement(row or values.shape[1]), device)


def nans(rows, columns, device, row=None, dtype=torch.float16):
    """Where a result goes, between red zones."""
    return guarded(torch.full((rows, columns), float("nan"), dtype=dtype), device, row)


def far_apart(tensor, apart, device):
    """The same values, the rows so many elements apart."""
    rows, columns = tensor.shape
    memory = torch.empty((rows - 1) * apart + columns, dtype=tensor.dtype, device=device)
    return memory.as_strided((rows, columns), (apart, 1)).copy_(tensor)
