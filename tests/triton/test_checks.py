"""The door: wrong operands raise, say what is wanted, and nothing is launched or written."""

import pytest
import torch
from torch import Tensor

from kernels.quant_linear import QuantLinear, matmul248, matmul_248_kernel


def good(device):
    """Keyword arguments of matmul248: K = 64, N = 16, four groups."""
    layer = QuantLinear.new(4, 16, 64, 16, False).to(device)
    x = torch.ones(4, 64, dtype=torch.float16, device=device)
    tensors = {name: tensor.clone() for name, tensor in layer.named_buffers()}
    tensors["scales"] += 1
    return {"input": x, "bits": 4, "maxq": 15, **tensors}


def changed(name, change):
    return lambda arguments: arguments | {name: change(arguments[name])}


REFUSED = {
    "bits-3": (NotImplementedError, changed("bits", lambda bits: 3)),  # L-07
    "bits-true": (NotImplementedError, changed("bits", lambda bits: True)),
    "maxq": (ValueError, changed("maxq", lambda maxq: 7)),
    "x-float32": (TypeError, changed("input", Tensor.float)),  # L-08, DT-01
    "x-integer": (TypeError, changed("input", Tensor.int)),
    "x-list": (TypeError, changed("input", Tensor.tolist)),
    "x-narrow": (ValueError, changed("input", lambda x: x[:, :32])),  # L-09
    "x-wide": (ValueError, changed("input", lambda x: x.repeat(1, 2))),
    "x-scalar": (ValueError, changed("input", lambda x: x[0, 0])),
    "x-meta": (ValueError, changed("input", lambda x: x.to("meta"))),  # L-11
    "x-sparse": (TypeError, changed("input", Tensor.to_sparse)),
    "qweight-int64": (TypeError, changed("qweight", Tensor.long)),
    "qweight-short": (ValueError, changed("qweight", lambda q: q[:-1])),
    "qweight-rank": (ValueError, changed("qweight", lambda q: q[0])),
    "qweight-partial-word": (ValueError, changed("qweight", lambda q: q[:, :12])),  # L-18
    "qweight-empty": (ValueError, changed("qweight", lambda q: q[:0])),
    "qweight-meta": (ValueError, changed("qweight", lambda q: q.to("meta"))),
    "qzeros-groups": (ValueError, changed("qzeros", lambda z: z[:-1])),
    "qzeros-transposed": (ValueError, changed("qzeros", lambda z: z.t())),  # GI-14
    "qzeros-float": (TypeError, changed("qzeros", Tensor.float)),
    "scales-float64": (TypeError, changed("scales", Tensor.double)),
    "scales-columns": (ValueError, changed("scales", lambda s: s[:, :8])),
    "scales-empty": (ValueError, changed("scales", lambda s: s[:0])),  # LY-05, B-07
    "g_idx-int64": (TypeError, changed("g_idx", Tensor.long)),  # L-23
    "g_idx-short": (ValueError, changed("g_idx", lambda g: g[:-1])),
    "g_idx-rank": (ValueError, changed("g_idx", lambda g: g[None])),
    "g_idx-large": (ValueError, changed("g_idx", lambda g: g + 1)),  # GI-01, L-05
    "g_idx-negative": (ValueError, changed("g_idx", lambda g: g - 1)),
    "g_idx-none": (ValueError, changed("g_idx", lambda g: None)),
    "out-float32": (TypeError, lambda a: a | {"out": torch.empty(4, 16, device=a["input"].device)}),
    "out-shape": (ValueError, lambda a: a | {"out": a["input"].new_empty(4, 24)}),
    "out-meta": (ValueError, lambda a: a | {"out": a["input"].new_empty(4, 16, device="meta")}),
    "out-is-x": (ValueError, lambda a: a | {"out": a["input"][:, :16]}),  # B-17
    "out-in-scales": (ValueError, lambda a: a | {"out": a["scales"]}),
    "out-expanded": (ValueError, lambda a: a | {"out": a["input"].new_empty(1, 16).expand(4, 16)}),
}  # fmt: skip


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
