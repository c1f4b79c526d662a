"""Calls of the kernels for groups of one size with the operands of a case, and what is expected."""

import reference.matmul
from kernels.quant_linear import matmul248
from kernels.uniform_groups import product as grouped

NAMES = ("qweight", "scales", "qzeros", "g_idx")


def weights_of(operands):
    """Name -> tensor, as `matmul248` takes them."""
    weights = operands.weights()
    return {name: weights[name] for name in NAMES}


def launch(operands, config):
    """The result in poisoned memory between red zones."""
    out, bits = operands.output(), operands.case.bits
    matmul248(
        operands.left, **weights_of(operands), bits=bits, maxq=2**bits - 1,
        out=out.view, config=config,
    )  # fmt: skip
    return out


def rounded_once(operands):
    weights = operands.weights()
    del weights["bias"]
    return reference.matmul.matmul(operands.left, **weights).to(operands.left.dtype)


def chosen(operands):
    """Its weights as Grouped; None where the general kernel takes them."""
    weights = weights_of(operands)
    return grouped.grouped(operands.left, *weights.values(), operands.case.bits)
