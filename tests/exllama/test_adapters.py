"""A module that somebody hangs onto a layer, an adapter say, is a part of it."""

import pytest
import torch

from tests.exllama.layers import layer_of


@pytest.mark.bug("L-68")
def test_an_adapter_moves_with_its_layer():
    layer = layer_of("cpu")
    layer.adapter = torch.nn.Linear(2, 3)
    layer.double()
    assert layer.adapter.weight.dtype == torch.float64
    assert layer.scales.dtype == torch.float64
    assert layer.to("meta").adapter.weight.is_meta
