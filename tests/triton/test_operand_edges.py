"""Operands at the edge of what is taken: memory that is shared, views that change, other kinds."""

import pytest
import torch
from torch import nn

from kernels import checks
from kernels.quant_linear import QuantLinear, QuantLinearFunction, matmul248, transpose_matmul248


def strided(shape, strides):
    return torch.zeros(256, dtype=torch.float16).as_strided(shape, strides)


@pytest.mark.parametrize(
    ("shape", "strides"),
    [((4, 16), (16, 1)), ((4, 16), (1, 4)), ((4, 16), (17, 1)), ((1, 16), (0, 1)),
     ((0, 16), (0, 1)), ((3, 0, 16), (0, 16, 1)), ((3, 4, 16), (16, 48, 1))],
)  # fmt: skip
def test_a_result_may_have_any_strides_that_keep_its_elements_apart(shape, strides):
    x = torch.zeros(*shape[:-1], 8, dtype=torch.float16)
    checks.output(strided(shape, strides), x, 16, {})


@pytest.mark.parametrize(
    ("shape", "strides"),
    [((4, 16), (15, 1)), ((4, 16), (8, 1)), ((4, 16), (0, 1)), ((4, 16), (1, 1)),
     ((4, 16), (1, 3)), ((3, 4, 16), (16, 16, 1))],
)  # fmt: skip
def test_a_result_whose_elements_share_memory_is_refused(shape, strides):
    x = torch.zeros(*shape[:-1], 8, dtype=torch.float16)
    with pytest.raises(ValueError, match="share memory"):
        checks.output(strided(shape, strides), x, 16, {})


@pytest.mark.bug("GI-01")
@pytest.mark.parametrize(
    ("then", "lowest"),
    [(slice(None, None, 2), 0), (slice(None), 0), (slice(4, None), 9)],
    ids=["strides", "shape", "place"],
)
def test_a_g_idx_that_looks_elsewhere_is_checked_again(then, lowest):
    """The same tensor, unwritten: only its strides, its length or its address changes."""
    memory = torch.tensor([0, 1, 0, 1, 9, 9, 9, 9], dtype=torch.int32)
    g_idx = memory[:4]
    checks.group_indices(g_idx, 2)
    g_idx.data = memory[then]
    with pytest.raises(ValueError, match=f"from {lowest} to 9"):
        checks.group_indices(g_idx, 2)


@pytest.mark.bug("GI-01")
def test_a_g_idx_is_checked_for_each_number_of_groups():
    g_idx = torch.tensor([0, 1, 2, 3], dtype=torch.int32)
    checks.group_indices(g_idx, 4)
    with pytest.raises(ValueError, match=r"must lie in \[0, 3\)"):
        checks.group_indices(g_idx, 3)


@pytest.mark.bug("LY-05")
def test_weights_without_a_group_are_refused_before_their_values_are_there():
    layer = QuantLinear.new(4, -1, 8, 8, False).to("meta")
    with pytest.raises(ValueError, match="at least one group"):
        checks.weights(layer.qweight, layer.qzeros[:0], layer.scales[:0], layer.g_idx, 4)


@pytest.mark.parametrize("name", ["x", "qweight", "scales", "qzeros", "g_idx"])
def test_the_function_names_what_is_no_tensor(name):
    layer = QuantLinear.new(4, -1, 8, 8, False)
    operands = {"x": torch.zeros(2, 8, dtype=torch.float16)}
    operands |= {part: getattr(layer, part) for part in ("qweight", "scales", "qzeros", "g_idx")}
    with pytest.raises(TypeError, match=f"^{name} "):
        QuantLinearFunction.apply(*(operands | {name: [1.0]}).values(), 4, 15)


def test_weights_that_are_no_reals_are_not_packed():
    layer, linear = QuantLinear.new(4, -1, 8, 8, False), nn.Linear(8, 8, bias=False)
    linear.weight = nn.Parameter(torch.ones(8, 8, dtype=torch.int8), requires_grad=False)
    with pytest.raises(TypeError, match=r"^weight "):
        layer.pack(linear, torch.ones(8, 1), torch.zeros(8, 1))


def test_a_bias_of_another_length_is_not_packed():
    layer, linear = QuantLinear.new(4, -1, 8, 8, True), nn.Linear(8, 8)
    linear.bias = nn.Parameter(torch.ones(9))
    with pytest.raises(ValueError, match=r"^bias "):
        layer.pack(linear, torch.ones(8, 1), torch.zeros(8, 1))
    assert not layer.bias.any()


PRODUCTS = [matmul248, transpose_matmul248]


def one_group(device="cpu"):
    """x [3, 16], and a layer of 16 rows in one group: ones in float16."""
    layer = QuantLinear.new(4, -1, 16, 16, False).to(device)
    layer.qweight.fill_(0x22222222)
    layer.scales.fill_(1.0)
    weights = {name: getattr(layer, name) for name in ("qweight", "scales", "qzeros")}
    return torch.ones(3, 16, dtype=torch.float16, device=device), weights


@pytest.mark.bug("GI-07")
@pytest.mark.parametrize("product", PRODUCTS)
def test_one_group_needs_neither_g_idx_nor_a_group_size(product, device):
    x, weights = one_group(device)
    assert torch.equal(product(x, **weights, g_idx=None, bits=4, maxq=15), 16 * x)


@pytest.mark.bug("DT-06")
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_result_of_ones_own_takes_no_gradient(product, device):
    x, weights = one_group(device)
    out = torch.empty_like(x)
    with pytest.raises(ValueError, match="there is no gradient"):
        product(x.requires_grad_(), **weights, g_idx=None, bits=4, maxq=15, out=out)


@pytest.mark.parametrize("product", PRODUCTS)
def test_what_is_no_tensor_is_named_with_a_result_of_ones_own_too(product, device):
    x, weights = one_group(device)
    with pytest.raises(TypeError, match=r"^x "):
        product(None, **weights, g_idx=None, bits=4, maxq=15, out=torch.empty_like(x))


@pytest.mark.bug("GI-08 MK-12")
@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("strides", [(64, 16, 1), (80, 24, 1), (200, 48, 3), (1, 6, 18)])
def test_a_result_may_have_strides_that_no_two_dimensions_describe(product, strides, device):
    """Every element is written where it belongs, and nothing else is."""
    x, weights = one_group(device)
    memory = torch.full((2000,), -1.0, dtype=torch.float16, device=device)
    out = memory.as_strided((2, 3, 16), strides)
    product(torch.stack([x, 2 * x]), **weights, g_idx=None, bits=4, maxq=15, out=out)
    assert torch.equal(out, 16 * torch.stack([x, 2 * x]))
    assert int((memory != -1).sum()) == out.numel()
