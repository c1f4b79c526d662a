"""Small packed layers whose products and sums are exact, and their inputs."""

import pytest
import torch

import reference.matmul
from kernels.custom_autotune import Autotuner
from kernels.quant_linear import QuantLinear, matmul_248_kernel, transpose_matmul_248_kernel

K, N, GROUP_SIZE = 64, 32, 16


def packed(device="cpu", bits=4, group_size=GROUP_SIZE, bias=True):
    """A layer whose products and sums are exact, with a bias of small integers."""
    maker = torch.Generator().manual_seed(bits)
    layer = QuantLinear.new(bits, group_size, K, N, bias)
    for name in ("qweight", "qzeros"):
        words = getattr(layer, name)
        words.copy_(torch.randint(-(2**31), 2**31, words.shape, generator=maker))
    layer.scales.copy_(2.0 ** torch.randint(-3, 1, layer.scales.shape, generator=maker))
    if bias:
        layer.bias.copy_(torch.arange(N) - 8)
    return layer.to(device)


def inputs(device, *leading, dtype=torch.float16):
    maker = torch.Generator().manual_seed(0)
    return torch.randint(-1, 2, (*leading, K), generator=maker).to(device, dtype)


def expected(layer, x):
    """Rounded once for the product and once for the sum with the bias, as documented."""
    names = ("qweight", "qzeros", "scales", "g_idx")
    weights = {name: getattr(layer, name) for name in names}
    product = reference.matmul.matmul(x, **weights, bits=layer.bits).to(x.dtype)
    return product if layer.bias is None else product + layer.bias.to(x.dtype)


@pytest.fixture(name="first_config")
def take_the_first_config(monkeypatch):
    """Nothing is timed: eight configs for every shape would take minutes on a GPU."""
    monkeypatch.setattr(Autotuner, "_best", lambda self, configs, *call: configs[0])
    tuners = (matmul_248_kernel, transpose_matmul_248_kernel)
    for tuner in tuners:
        tuner.clear()
    yield
    for tuner in tuners:
        tuner.clear()
