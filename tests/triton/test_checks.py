"""Argument checks: wrong operands raise with what is wanted; those at the edge are taken."""

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from kernels import checks
from kernels.quant_linear import (
    QuantLinear,
    QuantLinearFunction,
    matmul248,
    matmul_248_kernel,
)
from tests.layers.small import LAZY, WRONG_WEIGHTS, changed, zero_tensor
from tests.triton.products import both_products


def good(device):
    """Keyword arguments of matmul248: K = 64, N = 16, four groups."""
    layer = QuantLinear.new(4, 16, 64, 16, False).to(device)
    x = torch.ones(4, 64, dtype=torch.float16, device=device)
    tensors = {name: tensor.clone() for name, tensor in layer.named_buffers()}
    tensors["scales"] += 1
    return {"input": x, "bits": 4, "maxq": 15, **tensors}


REFUSED = WRONG_WEIGHTS | {
    "maxq": (ValueError, changed("maxq", lambda maxq: 7)),
    "x-float32": (TypeError, changed("input", Tensor.float)),  # L-08, DT-01
    "x-integer": (TypeError, changed("input", Tensor.int)),
    "x-list": (TypeError, changed("input", Tensor.tolist)),
    "x-narrow": (ValueError, changed("input", lambda x: x[:, :32])),  # L-09
    "x-wide": (ValueError, changed("input", lambda x: x.repeat(1, 2))),
    "x-scalar": (ValueError, changed("input", lambda x: x[0, 0])),
    "x-meta": (ValueError, changed("input", lambda x: x.to("meta"))),  # L-11
    "x-sparse": (TypeError, changed("input", Tensor.to_sparse)),
    "g_idx-none": (ValueError, changed("g_idx", lambda g: None)),
    "out-float32": (TypeError, lambda a: a | {"out": torch.empty(4, 16, device=a["input"].device)}),
    "out-shape": (ValueError, lambda a: a | {"out": a["input"].new_empty(4, 24)}),
    "out-meta": (ValueError, lambda a: a | {"out": a["input"].new_empty(4, 16, device="meta")}),
    "out-is-x": (ValueError, lambda a: a | {"out": a["input"][:, :16]}),  # B-17
    "out-in-scales": (ValueError, lambda a: a | {"out": a["scales"]}),
    "out-expanded": (ValueError, lambda a: a | {"out": a["input"].new_empty(1, 16).expand(4, 16)}),
}  # fmt: skip


@pytest.mark.bug("L-07 L-18 L-23 GI-14 GI-01 L-05 LY-05 B-07")
@pytest.mark.parametrize("name", REFUSED)
def test_wrong_operands_raise_and_say_what_is_wanted(name, device):
    error, change = REFUSED[name]
    with pytest.raises(error, match=r"must|needed|lies in|share memory|needs"):
        matmul248(**change(good(device)))
    matmul248(**good(device))


@pytest.mark.bug("L-19 GI-03 B-07")
@pytest.mark.parametrize(
    ("group_size", "error"),
    [(0, ValueError), (-2, ValueError), (48, ValueError), (1.5, TypeError), (True, TypeError)],
)
def test_a_group_size_that_does_not_fit_is_refused(group_size, error, device):
    with pytest.raises(error):
        matmul248(**good(device) | {"g_idx": None}, group_size=group_size)


@pytest.mark.bug("GI-01 L-05")
def test_a_g_idx_that_is_written_to_is_checked_again(device):
    """The verdict belongs to the values."""
    arguments = good(device)
    matmul248(**arguments)
    arguments["g_idx"][5] = 4
    with pytest.raises(ValueError, match="from 0 to 4"):
        matmul248(**arguments)


@pytest.mark.bug("L-05")
@pytest.mark.parametrize("group", [-1, 4, 2**31 - 1])
def test_a_g_idx_changed_behind_the_checks_gives_nan_and_reads_nothing(group, device):
    """Writes to .data are not counted."""
    arguments = good(device)
    matmul248(**arguments)
    arguments["g_idx"].data[5] = group
    assert matmul248(**arguments).isnan().all()


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
    checks.require_group_indices(g_idx, 2)
    g_idx.data = memory[then]
    with pytest.raises(ValueError, match=f"from {lowest} to 9"):
        checks.require_group_indices(g_idx, 2)


@pytest.mark.bug("GI-01")
def test_a_g_idx_is_checked_for_each_number_of_groups():
    g_idx = torch.tensor([0, 1, 2, 3], dtype=torch.int32)
    checks.require_group_indices(g_idx, 4)
    with pytest.raises(ValueError, match=r"must lie in \[0, 3\)"):
        checks.require_group_indices(g_idx, 3)


@pytest.mark.bug("LY-05")
def test_weights_without_a_group_are_refused_before_their_values_are_there():
    layer = QuantLinear.new(4, -1, 8, 8, False).to("meta")
    with pytest.raises(ValueError, match="at least one group"):
        checks.sizes_of_weights(layer.qweight, layer.qzeros[:0], layer.scales[:0], layer.g_idx, 4)


@pytest.mark.parametrize("name", ["x", "qweight", "scales", "qzeros", "g_idx"])
def test_the_function_names_what_is_no_tensor(name):
    layer = QuantLinear.new(4, -1, 8, 8, False)
    operands = {"x": torch.zeros(2, 8, dtype=torch.float16)}
    operands |= {part: getattr(layer, part) for part in ("qweight", "scales", "qzeros", "g_idx")}
    with pytest.raises(TypeError, match=f"^{name} "):
        QuantLinearFunction.apply(*(operands | {name: [1.0]}).values(), 4, 15)


def strided(shape, strides):
    return torch.zeros(256, dtype=torch.float16).as_strided(shape, strides)


@pytest.mark.parametrize(
    ("shape", "strides"),
    [((4, 16), (16, 1)), ((4, 16), (1, 4)), ((4, 16), (17, 1)), ((1, 16), (0, 1)),
     ((0, 16), (0, 1)), ((3, 0, 16), (0, 16, 1)), ((3, 4, 16), (16, 48, 1))],
)  # fmt: skip
def test_a_result_may_have_any_strides_that_keep_its_elements_apart(shape, strides):
    x = torch.zeros(*shape[:-1], 8, dtype=torch.float16)
    checks.require_output(strided(shape, strides), x, 16, {})


@pytest.mark.parametrize(
    ("shape", "strides"),
    [((4, 16), (15, 1)), ((4, 16), (8, 1)), ((4, 16), (0, 1)), ((4, 16), (1, 1)),
     ((4, 16), (1, 3)), ((3, 4, 16), (16, 16, 1))],
)  # fmt: skip
def test_a_result_whose_elements_share_memory_is_refused(shape, strides):
    x = torch.zeros(*shape[:-1], 8, dtype=torch.float16)
    with pytest.raises(ValueError, match="share memory"):
        checks.require_output(strided(shape, strides), x, 16, {})


@pytest.mark.bug("L-12 DT-06")
def test_gradients_are_computed_or_refused_but_never_dropped(device):
    arguments = good(device)
    arguments["input"].requires_grad_()
    matmul248(**arguments).sum().backward()
    assert arguments["input"].grad.shape == (4, 64)
    with pytest.raises(ValueError, match="no gradient"):
        matmul248(**arguments, config=matmul_248_kernel.configs[0])
    arguments["scales"].requires_grad_()
    with pytest.raises(NotImplementedError, match="scales"):
        matmul248(**arguments)


def test_the_second_derivative_is_that_of_a_linear_map(device):
    arguments = good(device)
    x = arguments["input"].requires_grad_()
    weight = torch.ones(4, 16, dtype=torch.float16, device=device, requires_grad=True)
    (grad,) = torch.autograd.grad(matmul248(**arguments), x, weight, create_graph=True)
    (twice,) = torch.autograd.grad(grad.sum(), weight)
    assert torch.equal(twice, matmul248(**arguments | {"input": torch.ones_like(x)}))


def one_group(device="cpu"):
    """x [3, 16], and a layer of 16 rows in one group: ones in float16."""
    layer = QuantLinear.new(4, -1, 16, 16, False).to(device)
    layer.qweight.fill_(0x22222222)
    layer.scales.fill_(1.0)
    weights = {name: getattr(layer, name) for name in ("qweight", "scales", "qzeros")}
    return torch.ones(3, 16, dtype=torch.float16, device=device), weights


@pytest.mark.bug("GI-07")
@both_products
def test_one_group_needs_neither_g_idx_nor_a_group_size(product, device):
    x, weights = one_group(device)
    assert torch.equal(product(x, **weights, g_idx=None, bits=4, maxq=15), 16 * x)


@pytest.mark.bug("DT-06")
@both_products
def test_a_result_of_ones_own_takes_no_gradient(product, device):
    x, weights = one_group(device)
    out = torch.empty_like(x)
    with pytest.raises(ValueError, match="there is no gradient"):
        product(x.requires_grad_(), **weights, g_idx=None, bits=4, maxq=15, out=out)


@both_products
def test_what_is_no_tensor_is_named_with_a_result_of_ones_own_too(product, device):
    x, weights = one_group(device)
    with pytest.raises(TypeError, match=r"^x "):
        product(None, **weights, g_idx=None, bits=4, maxq=15, out=torch.empty_like(x))


DOORS = {
    "operator": lambda x: {},
    "out": lambda x: {"out": torch.empty_like(x)},
    "config": lambda x: {"config": matmul_248_kernel.configs[0]},
}


@both_products
@pytest.mark.parametrize("name", ["x", "qweight", "scales", "qzeros", "g_idx"])
@pytest.mark.parametrize(("lazy", "plain"), LAZY)
@pytest.mark.parametrize("door", DOORS)
def test_values_that_torch_has_not_written_out_are_right_at_every_door(
    product, door, lazy, plain, name, device
):
    def result(change):
        x, weights = one_group(device)
        given = {"x": x, **weights, "g_idx": torch.zeros(16, dtype=torch.int32, device=device)}
        given[name] = change(given[name])
        x = given.pop("x")
        return product(x, **given, bits=4, maxq=15, **DOORS[door](x))

    assert torch.equal(result(lazy), result(plain))


@both_products
@pytest.mark.parametrize("lazy", [torch._neg_view, zero_tensor], ids=["negated", "zero"])
def test_a_result_without_plain_memory_is_refused(product, lazy, device):
    x, weights = one_group(device)
    with pytest.raises(ValueError, match="out must be memory to write to"):
        product(x, **weights, g_idx=None, bits=4, maxq=15, out=lazy(torch.empty_like(x)))


@both_products
@pytest.mark.parametrize("fake", ["x", "qweight", "out"])
def test_tensors_without_values_are_traced_by_the_operator_alone(product, fake, device):
    x, weights = one_group(device)
    given = {"x": x, **weights, "out": torch.empty_like(x)}
    with FakeTensorMode() as mode:
        given[fake] = mode.from_tensor(given[fake])
    with pytest.raises(ValueError, match="must hold values"):
        product(given.pop("x"), **given, g_idx=torch.zeros(16).int().to(device), bits=4, maxq=15)


@pytest.mark.bug("GI-08 MK-12")
@both_products
@pytest.mark.parametrize("strides", [(64, 16, 1), (80, 24, 1), (200, 48, 3), (1, 6, 18)])
def test_a_result_may_have_strides_that_no_two_dimensions_describe(product, strides, device):
    """Every element is written where it belongs, and nothing else is."""
    x, weights = one_group(device)
    memory = torch.full((2000,), -1.0, dtype=torch.float16, device=device)
    out = memory.as_strided((2, 3, 16), strides)
    product(torch.stack([x, 2 * x]), **weights, g_idx=None, bits=4, maxq=15, out=out)
    assert torch.equal(out, 16 * torch.stack([x, 2 * x]))
    assert int((memory != -1).sum()) == out.numel()
