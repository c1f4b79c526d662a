"""The short way of a layer's later calls: the same product, or not taken."""

import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from kernels.quant_linear import QuantLinear
from tests.triton.products import problem, rounded_once, weights_of

pytestmark = pytest.mark.gpu
LINE = "m{m}-n144-k512-b{bits}-g64{order}-s{seed}"


def layer_and_x(device, m=1, bits=4, order="", seed=1):
    """A layer, x [m, 512] and the right result."""
    operands = problem(LINE.format(m=m, bits=bits, order=order, seed=seed), device)
    weights = weights_of(operands)
    layer = QuantLinear(**weights, bias=None, bits=bits, groupsize=64)
    return layer, operands.left.clone(), rounded_once(operands)


@pytest.mark.parametrize("m", [1, 64])
def test_x_at_ever_new_addresses_is_multiplied_where_it_lies(m, device):
    layer, x, _ = layer_and_x(device, m)
    rows = torch.randn(100, *x.shape, device=device).to(x.dtype)
    once = [layer(each) for each in rows]
    assert all(is_ready(layer, each) for each in rows)
    order = [*range(100), *reversed(range(100)), *range(0, 100, 7)]
    assert all(torch.equal(layer(rows[place]), once[place]) for place in order)
    fresh = layer_and_x(device, m)[0]
    assert all(torch.equal(fresh._checked(rows[place]), once[place]) for place in (0, 63, 64, 99))


def is_ready(layer, x):
    return layer._ready is not None and layer._ready.product(x, layer._buffers) is not None


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("order", ["", "-act"])
@pytest.mark.parametrize("m", [1, 16, 17, 64])
def test_the_second_call_is_the_first_again(m, order, bits, device):
    layer, x, expected = layer_and_x(device, m, bits, order)
    assert torch.equal(layer(x), expected)
    assert is_ready(layer, x) == (not order or m <= 16)
    for _ in range(3):
        assert torch.equal(layer(x), expected)
    assert torch.equal(layer(x.view(m, 1, 512)), expected.view(m, 1, 144))


@pytest.mark.bug("L-74 B-22")
@pytest.mark.parametrize("order", ["", "-act"])
@pytest.mark.parametrize("name", ["qweight", "scales", "qzeros", "g_idx"])
@pytest.mark.parametrize("way", ["written", "replaced"])
def test_other_weights_are_seen(way, name, order, device):
    layer, x, _ = layer_and_x(device, order=order)
    layer(x)
    other = getattr(layer_and_x(device, order=order, seed=2)[0], name)
    if way == "written":
        getattr(layer, name).copy_(other)
    else:
        setattr(layer, name, other)
    assert not is_ready(layer, x)
    names = ("qweight", "qzeros", "scales", "g_idx")
    fresh = QuantLinear(*(getattr(layer, each).clone() for each in names), None, 4, 64)
    expected = fresh(x)
    for _ in range(2):
        assert torch.equal(layer(x), expected)
    assert is_ready(layer, x)


def test_x_that_wants_more_than_the_product_takes_the_long_way(device):
    layer, x, expected = layer_and_x(device, m=2)
    layer(x)
    with_grad = x.clone().requires_grad_()
    layer(with_grad).sum().backward()
    assert with_grad.grad is not None
    lazy = torch._neg_view(x)
    spread = torch.cat([x, x], dim=1)[:, :512]
    odd = torch.cat([x.flatten().new_zeros(1), x.flatten()])[1:].view_as(x)
    assert not any(is_ready(layer, other) for other in (with_grad, lazy, spread, odd))
    assert torch.equal(layer(lazy), -expected)
    assert torch.equal(layer(spread), expected)
    assert torch.equal(layer(odd), expected)
    with torch.autocast("cuda", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    with pytest.raises(RuntimeError, match="functorch"):  # as the first call would
        torch.vmap(layer)(x[:, None])


def test_a_mode_hears_of_the_operator(device):
    heard = []

    class Mode(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            heard.append(str(function))
            return function(*args, **(kwargs or {}))

    layer, x, expected = layer_and_x(device)
    layer(x)
    with Mode():
        assert torch.equal(layer(x), expected)
    assert any("gptq_fuzz" in name for name in heard)


def test_graphs_that_run_side_by_side_count_apart(device):
    """Two of one layer and many shares, recorded on one stream, a thousand times on two."""
    layer, x, expected = layer_and_x(device, m=16)
    layer(x)
    graphs, results = [], []
    for _ in range(2):
        graphs.append(torch.cuda.CUDAGraph())
        with torch.cuda.graph(graphs[-1]):
            results.append([layer(x) for _ in range(8)])
    streams = [torch.cuda.Stream() for _ in graphs]
    for _ in range(500):
        for graph, stream in zip(graphs, streams, strict=True):
            with torch.cuda.stream(stream):
                graph.replay()
    torch.cuda.synchronize()
    assert all(torch.equal(result, expected) for several in results for result in several)


def test_streams_count_apart(device):
    layer, x, expected = layer_and_x(device, m=16)
    layer(x)
    torch.cuda.synchronize()
    streams, results = [torch.cuda.Stream() for _ in range(4)], []
    for _ in range(500):
        for stream in streams:
            with torch.cuda.stream(stream):
                results.append(layer(x))
    torch.cuda.synchronize()
    assert all(torch.equal(result, expected) for result in results)


def test_4000_repeats_are_the_same_bits(device):
    layer, x, _ = layer_and_x(device, m=16)
    x = torch.randn_like(x)
    first = layer(x)
    assert all(torch.equal(layer(x), first) for _ in range(4000))


def test_a_copy_and_a_moved_layer_are_ready_by_themselves(device):
    layer, x, expected = layer_and_x(device)
    layer(x)
    twin = copy.deepcopy(layer)
    assert twin._ready is None
    twin.scales.mul_(2)
    assert torch.equal(twin(x), 2 * expected)
    assert torch.equal(layer(x), expected)
    layer.to("cpu")
    assert layer._ready is None
