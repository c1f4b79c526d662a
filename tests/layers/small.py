"""Small layers whose products and sums are exact, and their inputs."""

import gc

import pytest
import torch
from torch import Tensor

import reference.matmul
from kernels import exllama
from kernels.custom_autotune import Autotuner
from kernels.exllama.linear import ExllamaQuantLinear
from kernels.quant_linear import QuantLinear, matmul_248_kernel, transpose_matmul_248_kernel
from tests.exllama.parts import build_or_skip

K, N, GROUP_SIZE = 64, 40, 16
NAMES = ("qweight", "qzeros", "scales", "g_idx")


@pytest.fixture
def first_config(monkeypatch):
    """Nothing is timed: eight configs for every shape would take minutes on a GPU."""
    monkeypatch.setattr(Autotuner, "_best", lambda self, configs, *call, **how: configs[0])
    tuners = (matmul_248_kernel, transpose_matmul_248_kernel)
    for tuner in tuners:
        tuner.clear()
    yield
    for tuner in tuners:
        tuner.clear()


@pytest.fixture
def fresh(device):
    """Nothing is left in the extension of an earlier test."""
    build_or_skip(device)
    gc.collect()
    exllama.cleanup()
    yield
    exllama.cleanup()


def operands(
    device="cpu", k=K, n=N, group_size=GROUP_SIZE, bits=4, act=False, seed=0, **changes
):  # fmt: skip
    """Of a layer, with a bias of small integers; some of them replaced."""
    maker, G, pack_factor = torch.Generator().manual_seed(seed), k // group_size, 32 // bits
    g_idx = (torch.arange(k) // group_size).int()
    tensors = {
        "qweight": torch.randint(-(2**31), 2**31, (k // pack_factor, n), generator=maker).int(),
        "qzeros": torch.randint(-(2**31), 2**31, (G, n // pack_factor), generator=maker).int(),
        "scales": (2.0 ** torch.randint(-3, 1, (G, n), generator=maker)).half(),
        "g_idx": g_idx[torch.randperm(k, generator=maker)] if act else g_idx,
        "bias": (torch.arange(n) - 8).half(),
    }
    tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
    return tensors | {"bits": bits, "groupsize": group_size} | changes


def quant_linear(device, **changes):
    return QuantLinear(**operands(device, **changes))


def exllama_linear(device, **changes):
    return ExllamaQuantLinear(**operands(device, **changes))


def inputs(device, *leading, k=K, dtype=torch.float16):
    maker = torch.Generator().manual_seed(1)
    return torch.randint(-1, 2, (*leading, k), generator=maker).to(device, dtype)


def expected(layer, x):
    """Rounded once for the product and once for the sum with the bias, as documented."""
    weights = {name: getattr(layer, name) for name in NAMES}
    product = reference.matmul.matmul(x, **weights, bits=layer.bits).to(x.dtype)
    return product if layer.bias is None else product + layer.bias.to(x.dtype)


def is_right(layer, x):
    return torch.equal(layer(x), expected(layer, x))


def negated(tensor):
    """The same values, whose bytes are those of their negatives: torch negates lazily."""
    return torch._neg_view(tensor.neg())


def zero_tensor(tensor):
    """Zeros of the same shape that have no memory, as torch makes them for gradients."""
    return torch._efficientzerotensor(tensor.shape, dtype=tensor.dtype, device=tensor.device)


LAZY = [  # values without their bytes in memory, and the same written out
    pytest.param(negated, Tensor.clone, id="negated"),
    pytest.param(zero_tensor, torch.zeros_like, id="zero"),
]


def changed(name, change):
    """A function that changes one operand of a call."""
    return lambda operands: operands | {name: change(operands[name])}


WRONG_WEIGHTS = {  # of whatever takes weights
    "bits-3": (NotImplementedError, changed("bits", lambda bits: 3)),  # L-07
    "bits-true": (NotImplementedError, changed("bits", lambda bits: True)),
    "bits-float": (NotImplementedError, changed("bits", float)),
    "qweight-none": (TypeError, changed("qweight", lambda q: None)),
    "qweight-int64": (TypeError, changed("qweight", Tensor.long)),
    "qweight-short": (ValueError, changed("qweight", lambda q: q[:-1])),
    "qweight-rank": (ValueError, changed("qweight", lambda q: q[0])),
    "qweight-partial-word": (ValueError, changed("qweight", lambda q: q[:, :12])),  # L-18
    "qweight-empty": (ValueError, changed("qweight", lambda q: q[:0])),
    "qweight-meta": (ValueError, changed("qweight", lambda q: q.to("meta"))),
    "qzeros-none": (TypeError, changed("qzeros", lambda z: None)),
    "qzeros-groups": (ValueError, changed("qzeros", lambda z: z[:-1])),
    "qzeros-transposed": (ValueError, changed("qzeros", lambda z: z.t())),  # GI-14
    "qzeros-float": (TypeError, changed("qzeros", Tensor.float)),
    "scales-float64": (TypeError, changed("scales", Tensor.double)),
    "scales-columns": (ValueError, changed("scales", lambda s: s[:, :8])),
    "scales-transposed": (ValueError, changed("scales", lambda s: s.t())),
    "scales-empty": (ValueError, changed("scales", lambda s: s[:0])),  # LY-05, B-07
    "g_idx-int64": (TypeError, changed("g_idx", Tensor.long)),  # L-23
    "g_idx-list": (TypeError, changed("g_idx", Tensor.tolist)),
    "g_idx-short": (ValueError, changed("g_idx", lambda g: g[:-1])),
    "g_idx-rank": (ValueError, changed("g_idx", lambda g: g[None])),
    "g_idx-large": (ValueError, changed("g_idx", lambda g: g + 1)),  # GI-01, L-05
    "g_idx-negative": (ValueError, changed("g_idx", lambda g: g - 1)),
}
