"""QuantLinear: what it promises beyond any packed layer (tests/layers)."""

import pytest
import torch

import reference.matmul
from kernels.quant_linear import QuantLinear, QuantLinearFunction
from tests.layers.small import GROUP_SIZE, NAMES, K, N, expected, inputs, is_right, quant_linear

pytestmark = pytest.mark.usefixtures("first_config")


@pytest.mark.bug("LY-03 L-10 DT-04")
@pytest.mark.parametrize(("bits", "n"), [(2, 48), (4, 48), (8, 40)])
@pytest.mark.parametrize("leading", [(), (2, 3), (2, 0)], ids=str)
def test_codes_of_any_width_are_multiplied(bits, n, leading, device):
    assert is_right(quant_linear(device, bits=bits, n=n), inputs(device, *leading))


@pytest.mark.bug("L-17 L-18 L-19 PK-10 PK-11 PK-12")
@pytest.mark.parametrize(
    ("arguments", "error"),
    [((3, 16, K, N), NotImplementedError), ((4.0, 16, K, N), NotImplementedError),
     ((4, 0, K, N), ValueError), ((4, -2, K, N), ValueError), ((4, None, K, N), TypeError),
     ((4, 16, 52, N), ValueError), ((2, 16, 24, N), ValueError), ((4, 16, 0, N), ValueError),
     ((4, 16, K, 36), ValueError), ((4, 16, K, 100), ValueError), ((4, 16, 64.0, N), TypeError)],
)  # fmt: skip
def test_new_refuses_what_does_not_fill_words(arguments, error):
    with pytest.raises(error, match="must be"):
        QuantLinear.new(*arguments, False)


@pytest.mark.bug("GI-03 L-19")
def test_a_new_layer_holds_zeros_for_packing_or_loading():
    """Float16 wherever it is no word and no index; one group where its size is -1."""
    buffers = dict(QuantLinear.new(4, GROUP_SIZE, K, N, True).named_buffers())
    dtypes = {name: buffer.dtype for name, buffer in buffers.items()}
    words = dict.fromkeys(("qweight", "qzeros", "g_idx"), torch.int32)
    assert dtypes == words | dict.fromkeys(("scales", "bias"), torch.float16)
    assert not any(buffers[name].any() for name in ("qweight", "qzeros", "scales", "bias"))
    assert QuantLinear.new(4, -1, K, N, True).scales.shape == (1, N)


def test_scales_in_float64_are_refused(device):
    with pytest.raises(TypeError, match=r"scales must be .*not torch.float64"):
        quant_linear(device).double()(inputs(device, 3))


@pytest.mark.bug("L-12 DT-06")
def test_the_gradient_is_that_of_the_reference(device):
    layer, x = quant_linear(device), inputs(device, 2, 3).requires_grad_()
    grad = torch.randint(-2, 3, (2, 3, N), device=device).half()
    layer(x).backward(grad)
    weights = (getattr(layer, name) for name in NAMES)
    assert torch.equal(x.grad, reference.matmul.gradient(grad, *weights, layer.bits).half())


def test_the_function_takes_the_original_arguments(device):
    layer, x = quant_linear(device, bias=None), inputs(device, 3)
    weights = (layer.qweight, layer.scales, layer.qzeros, layer.g_idx)
    out = QuantLinearFunction.apply(x, *weights, layer.bits, layer.maxq)
    assert torch.equal(out, expected(layer, x))
    assert not out.requires_grad


@pytest.mark.bug("L-28")
def test_the_weight_property_is_the_packed_words(device):
    layer = quant_linear(device)
    assert layer.weight is layer.qweight
    assert (layer.weight.shape, layer.weight.dtype) == ((K * 4 // 32, N), torch.int32)
