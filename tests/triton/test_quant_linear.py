"""QuantLinear as a module: construction, ranks, dtypes, state, gradient."""

import copy
import io
import pickle

import pytest
import torch

import reference.matmul
from kernels.quant_linear import QuantLinear, QuantLinearFunction
from tests.triton.layers import GROUP_SIZE, K, N, expected, inputs, packed, take_the_first_config

__all__ = ["take_the_first_config"]
pytestmark = pytest.mark.usefixtures("first_config")


@pytest.mark.bug("LY-03 L-10 DT-04")
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (2, 1, 3), (0,), (2, 0)], ids=str)
def test_inputs_of_any_rank_are_multiplied(bits, leading, device):
    layer, x = packed(device, bits), inputs(device, *leading)
    out = layer(x)
    assert out.shape == (*leading, N)
    assert torch.equal(out, expected(layer, x))


VIEWS = (
    lambda x: x.transpose(0, 1),
    lambda x: x[:, ::2],
    lambda x: x[::2, 1:],
    lambda x: x[:1].expand(4, -1, -1),
)


@pytest.mark.bug("LY-01 L-02")
@pytest.mark.parametrize("view", VIEWS)
def test_strided_inputs_are_as_good_as_contiguous_ones(view, device):
    layer, x = packed(device), view(inputs(device, 4, 5))
    assert torch.equal(layer(x), layer(x.contiguous()))


@pytest.mark.bug("GI-03 L-19")
def test_group_size_minus_one_is_one_group(device):
    layer, other = packed(device, group_size=-1), packed(device, group_size=K)
    assert layer.groupsize == other.groupsize == K
    assert layer.scales.shape == (1, N)
    assert torch.equal(layer(inputs(device, 3)), other(inputs(device, 3)))


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


def test_a_new_layer_holds_zeros_for_packing_or_loading():
    """Float16 wherever it is no word and no index."""
    buffers = dict(QuantLinear.new(4, GROUP_SIZE, K, N, True).named_buffers())
    dtypes = {name: buffer.dtype for name, buffer in buffers.items()}
    words = dict.fromkeys(("qweight", "qzeros", "g_idx"), torch.int32)
    assert dtypes == words | dict.fromkeys(("scales", "bias"), torch.float16)
    assert not any(buffers[name].any() for name in ("qweight", "qzeros", "scales", "bias"))


def parts(**changes):
    layer = packed()
    names = ("qweight", "qzeros", "scales", "g_idx", "bias")
    tensors = {name: getattr(layer, name) for name in names}
    return tensors | {"bits": 4, "groupsize": GROUP_SIZE} | changes


@pytest.mark.bug("L-26 L-23 GI-01 GI-12 L-07")
@pytest.mark.parametrize(
    ("changes", "error"),
    [({"bits": 3}, NotImplementedError), ({"bits": 8}, ValueError), ({"qweight": None}, TypeError),
     ({"qzeros": packed().qzeros[:2]}, ValueError), ({"scales": packed().scales.t()}, ValueError),
     ({"scales": packed().scales.double()}, TypeError), ({"groupsize": 0}, ValueError),
     ({"g_idx": packed().g_idx + 1}, ValueError), ({"g_idx": packed().g_idx - 1}, ValueError),
     ({"g_idx": packed().g_idx[1:]}, ValueError), ({"g_idx": packed().g_idx.long()}, TypeError),
     ({"g_idx": None, "groupsize": 48}, ValueError), ({"bias": torch.ones(N + 1)}, ValueError),
     ({"bias": torch.ones(N).int()}, TypeError),
     ({"bias": torch.ones(N, device="meta")}, ValueError)],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value.__name__,
)  # fmt: skip
def test_operands_that_do_not_fit_are_refused_at_construction(changes, error):
    with pytest.raises(error):
        QuantLinear(**parts(**changes))


@pytest.mark.bug("L-26 B-05")
def test_without_g_idx_groups_follow_each_other():
    layer = QuantLinear(**parts(g_idx=None))
    assert layer.g_idx.tolist() == [row // GROUP_SIZE for row in range(K)]


@pytest.mark.bug("B-30 L-20")
def test_state_survives_every_way_of_copying(device):
    layer, x = packed(device), inputs(device, 3)
    saved = io.BytesIO()
    torch.save(layer.state_dict(), saved)
    saved.seek(0)
    loaded = QuantLinear.new(4, GROUP_SIZE, K, N, True).to(device)
    loaded.load_state_dict(torch.load(saved, weights_only=True))
    for twin in (loaded, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), layer.to("cpu")):
        assert torch.equal(twin.to(device)(x), expected(layer.to(device), x))


@pytest.mark.bug("GI-01 L-23")
def test_a_state_with_a_wrong_g_idx_is_refused_before_it_is_copied():
    layer = packed()
    state = {key: value + 1 for key, value in layer.state_dict().items()}
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(ValueError, match="g_idx must lie"):
        layer.load_state_dict(state)
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())


@pytest.mark.bug("L-27 DT-03")
@pytest.mark.parametrize("cast", ["half", "float", "bfloat16"])
def test_casts_of_the_module_change_neither_values_nor_the_dtype_of_the_output(cast, device):
    """Scales and bias here are exact in all three."""
    layer, x = packed(device), inputs(device, 3)
    out = layer(x)
    assert out.dtype == torch.float16
    assert torch.equal(getattr(layer, cast)()(x), out)


def test_scales_in_float64_are_refused(device):
    with pytest.raises(TypeError, match=r"scales must be .*not torch.float64"):
        packed(device).double()(inputs(device, 3))


@pytest.mark.bug("L-08 DT-01")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32])
def test_other_inputs_are_refused_outside_autocast(dtype, device):
    with pytest.raises(TypeError, match="x must be"):
        packed(device)(inputs(device, 3, dtype=dtype))


@pytest.mark.bug("L-12 DT-06")
def test_the_gradient_is_that_of_the_reference(device):
    layer, x = packed(device), inputs(device, 2, 3).requires_grad_()
    grad = torch.randint(-2, 3, (2, 3, N), device=device).half()
    layer(x).backward(grad)
    weights = (layer.qweight, layer.qzeros, layer.scales, layer.g_idx, layer.bits)
    assert torch.equal(x.grad, reference.matmul.gradient(grad, *weights).half())


def test_the_function_takes_the_original_arguments(device):
    layer, x = packed(device, bias=False), inputs(device, 3)
    weights = (layer.qweight, layer.scales, layer.qzeros, layer.g_idx)
    out = QuantLinearFunction.apply(x, *weights, layer.bits, layer.maxq)
    assert torch.equal(out, expected(layer, x))
    assert not out.requires_grad


@pytest.mark.bug("L-28")
def test_the_weight_property_is_the_packed_words(device):
    layer = packed(device)
    assert layer.weight is layer.qweight
    assert (layer.weight.shape, layer.weight.dtype) == ((K * 4 // 32, N), torch.int32)
