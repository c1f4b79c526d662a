"""ExllamaQuantLinear where a cast, a scale or a buffer is at the edge of what is taken."""

import pytest
import torch

from kernels import exllama
from kernels.exllama import linear as exllama_linear
from kernels.exllama.linear import create_exllama_buffers
from tests.exllama.layers import K, N, fresh, inputs, is_right, layer_of

__all__ = ["fresh"]
pytestmark = pytest.mark.usefixtures("fresh")


@pytest.mark.bug("L-27")
def test_a_bias_of_more_digits_is_rounded_before_it_is_added(device):
    bias = torch.linspace(0.1, 3, N, device=device)
    assert is_right(layer_of(device, bias=bias), inputs(device, 64))


@pytest.mark.bug("L-27")
def test_scales_of_another_dtype_must_be_exact_in_float16(device):
    """Each of them, and NaN is one."""
    layer = layer_of(device).float()
    assert is_right(layer, inputs(device, 3))
    layer.scales[0, 0] = float("nan")
    assert layer(inputs(device, 3)).isnan().any()
    layer.scales[0, 1] = 1 + 2**-12
    with pytest.raises(ValueError, match="must be exact"):
        layer(inputs(device, 3))


@pytest.mark.bug("BF-05")
def test_room_that_is_just_enough_is_kept(device):
    """A call that fits makes no buffers."""
    layer = layer_of(device, act=True)
    create_exllama_buffers(4)
    before = [buffer.data_ptr() for buffer in exllama.buffers(layer.qweight.device)]
    assert is_right(layer, inputs(device, 4))
    assert [b.data_ptr() for b in exllama.buffers(layer.qweight.device)] == before


@pytest.mark.bug("BF-04")
@pytest.mark.parametrize("sizes", [(1, 3, 2), (2, 1, 3), (3, 2, 1)])
def test_the_first_of_many_layers_makes_room_for_the_largest(device, monkeypatch, sizes):
    """Once, whichever is first."""
    layers = [layer_of(device, k=K * size, act=True) for size in sizes]
    monkeypatch.setattr(exllama_linear, "_layers", layers)  # a set of them has no order
    made, prepare = [], exllama.prepare_buffers
    monkeypatch.setattr(exllama, "prepare_buffers", lambda *a: made.append(1) or prepare(*a))
    create_exllama_buffers(4)
    assert len(made) == 1
    assert all(is_right(layer, inputs(device, 4, k=layer.infeatures)) for layer in layers)
