"""ExllamaQuantLinear: what it promises beyond any packed layer (tests/layers)."""

import gc

import pytest
import torch

from kernels import exllama
from kernels.exllama import linear
from tests.layers.small import N, exllama_linear, inputs, is_right

pytestmark = pytest.mark.usefixtures("fresh")


@pytest.mark.bug("L-78")
def test_a_plain_g_idx_needs_no_room_for_x_in_another_order(device):
    """No activation-order path for groups in order; the results are the same."""
    plain, absent = exllama_linear(device), exllama_linear(device, g_idx=None)
    assert torch.equal(plain(inputs(device, 9)), absent(inputs(device, 9)))
    assert exllama.buffers(plain.qweight.device)[0].numel() == 0


@pytest.mark.bug("B-20 L-66 L-76")
def test_layers_outlive_a_cleanup_and_their_neighbours(device):
    """The one that is gone is pinned by nobody."""
    layers = [exllama_linear(device, act=True, seed=seed) for seed in range(3)]
    x = inputs(device, 9)
    for layer in layers:
        layer(x)
    exllama.cleanup()
    del layers[1], layer
    gc.collect()
    assert len(linear._layers) == 2
    assert all(is_right(layer, x) for layer in layers)


@pytest.mark.bug("L-68")
def test_an_adapter_moves_with_its_layer():
    """A module that somebody hangs onto a layer is a part of it."""
    layer = exllama_linear("cpu")
    layer.adapter = torch.nn.Linear(2, 3)
    layer.double()
    assert layer.adapter.weight.dtype == torch.float64
    assert layer.scales.dtype == torch.float64
    assert layer.to("meta").adapter.weight.is_meta


@pytest.mark.bug("L-27")
def test_a_bias_of_more_digits_is_rounded_before_it_is_added(device):
    bias = torch.linspace(0.1, 3, N, device=device)
    assert is_right(exllama_linear(device, bias=bias), inputs(device, 64))


@pytest.mark.bug("L-27 L-78")
def test_scales_of_another_dtype_must_be_exact_in_float16(device):
    """Each of them, and NaN is one."""
    layer = exllama_linear(device).float()
    assert is_right(layer, inputs(device, 3))
    layer.scales[0, 0] = float("nan")
    assert layer(inputs(device, 3)).isnan().any()
    layer.scales[0, 1] = 1 + 2**-12
    with pytest.raises(ValueError, match=r"scales must be exact in torch\.float16"):
        layer(inputs(device, 3))


@pytest.mark.bug("DT-01 L-71")
def test_bfloat16_is_refused(device):
    with pytest.raises(TypeError, match="x must be"):
        exllama_linear(device)(inputs(device, 3, dtype=torch.bfloat16))


@pytest.mark.bug("DT-01")
def test_autocast_to_float16_casts(device):
    layer, x = exllama_linear(device), inputs(device, 3)
    with torch.autocast(device, dtype=torch.float16):
        assert torch.equal(layer(x.float()), layer(x))


@pytest.mark.bug("DT-06")
def test_a_gradient_is_refused_and_not_dropped(device):
    layer, x = exllama_linear(device), inputs(device, 3).requires_grad_()
    with pytest.raises(NotImplementedError, match="no gradient"):
        layer(x)
    with torch.no_grad():
        assert is_right(layer, x)


@pytest.mark.bug("B-32")
def test_a_layer_without_data_is_refused_when_it_is_called():
    with pytest.raises(ValueError, match="on a CPU or a CUDA device"):
        exllama_linear("meta")(inputs("meta", 3))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_trace_is_refused(device):
    """It would hold an empty result, and no product."""
    layer = exllama_linear(device)
    with pytest.raises(NotImplementedError, match="cannot be traced"):
        torch.jit.trace(layer, inputs(device, 3))
