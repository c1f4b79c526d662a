"""Small layers around the ExLlama extension whose products and sums are exact, and their inputs."""

import gc

import pytest
import torch

import reference.matmul
from kernels import exllama
from kernels.exllama.linear import ExllamaQuantLinear
from tests.exllama.parts import build_or_skip

K, N, GROUP_SIZE = 64, 40, 16
NAMES = ("qweight", "qzeros", "scales", "g_idx")


@pytest.fixture
def fresh(device):
    """Nothing is left of an earlier test."""
    build_or_skip(device)
    gc.collect()
    exllama.cleanup()
    yield
    exllama.cleanup()


def parts(device="cpu", k=K, n=N, group_size=GROUP_SIZE, act=False, seed=0, **changes):
    """Operands of a layer whose products and sums are exact."""
    maker = torch.Generator().manual_seed(seed)
    G = k // group_size
    g_idx = (torch.arange(k) // group_size).int()
    made = {
        "qweight": torch.randint(-(2**31), 2**31, (k // 8, n), generator=maker).int(),
        "qzeros": torch.randint(-(2**31), 2**31, (G, n // 8), generator=maker).int(),
        "scales": (2.0 ** torch.randint(-3, 1, (G, n), generator=maker)).half(),
        "g_idx": g_idx[torch.randperm(k, generator=maker)] if act else g_idx,
        "bias": (torch.arange(n) - 8).half(),
    }
    return {name: t.to(device) for name, t in made.items()} | BITS | changes


BITS = {"bits": 4, "groupsize": GROUP_SIZE}


def layer_of(device, **changes):
    return ExllamaQuantLinear(**parts(device, **changes))


def inputs(device, *leading, k=K):
    maker = torch.Generator().manual_seed(1)
    return torch.randint(-1, 2, (*leading, k), generator=maker).to(device, torch.float16)


def expected(layer, x):
    """Rounded once for the product and once for the sum with the bias, as documented."""
    weights = {name: getattr(layer, name) for name in NAMES}
    product = reference.matmul.matmul(x, **weights, bits=layer.bits).to(x.dtype)
    return product if layer.bias is None else product + layer.bias.to(x.dtype)


def is_right(layer, x):
    return torch.equal(layer(x), expected(layer, x))
