"""Scratch buffers, streams, graphs and devices of ExllamaQuantLinear."""

import gc

import pytest
import torch

from kernels import exllama
from kernels.exllama.linear import create_exllama_buffers
from tests.exllama.layers import K, N, expected, fresh, inputs, is_right, layer_of

__all__ = ["fresh"]
pytestmark = pytest.mark.usefixtures("fresh")


def room(device):
    """Elements of temp_state and temp_dq."""
    return tuple(buffer.numel() for buffer in exllama.buffers(torch.device(device)))


@pytest.fixture
def here(device):
    """The device that tensors say they are on."""
    return torch.empty(0, device=device).device


@pytest.mark.bug("L-59 L-70 BF-04 BF-05 L-77")
def test_buffers_are_for_the_largest_layer_and_row_count(here, device):
    """What is needed, and no more."""
    layers = [layer_of(device, k=k, n=n, act=act) for k, n, act in SIZES]
    create_exllama_buffers(100)
    assert room(here) == (100 * 128, 64 * 256)
    assert all(is_right(layer, inputs(device, 100, k=layer.infeatures)) for layer in layers)
    assert room(here) == (100 * 128, 64 * 256)


SIZES = [(64, 40, True), (128, 40, True), (64, 256, False), (192, 16, False)]


@pytest.mark.bug("L-70 L-76 B-21")
def test_buffers_are_for_layers_that_live(here, device):
    """Another model was larger; it is gone."""
    layer_of(device, k=512, n=512, act=True)
    gc.collect()
    kept = layer_of(device, act=True)
    create_exllama_buffers(7)
    assert room(here) == (7 * K, K * N)
    assert is_right(kept, inputs(device, 7))


@pytest.mark.bug("BF-01 BF-04 L-59")
def test_a_layer_or_rows_beyond_the_buffers_make_them_grow(here, device):
    """Made after them, called with more rows, or after the caller's own."""
    first = layer_of(device, act=True)
    create_exllama_buffers(4)
    later = layer_of(device, k=128, n=64, act=True)
    assert is_right(later, inputs(device, 5, k=128))
    assert is_right(first, inputs(device, 50))
    assert room(here) == (50 * 128, 128 * 64)
    one = torch.zeros(1, dtype=torch.half, device=device)
    exllama.prepare_buffers(here, one, one.clone())
    assert is_right(later, inputs(device, 5, k=128))


def test_buffers_do_not_count_layers_without_data():
    layer_of("meta")
    create_exllama_buffers(4)


@pytest.mark.parametrize(
    ("tokens", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError), (True, TypeError)]
)
def test_a_row_count_that_is_none_is_refused(tokens, error):
    with pytest.raises(error, match="max_total_tokens must be"):
        create_exllama_buffers(tokens)


@pytest.mark.bug("ST-01 L-61 B-23")
@pytest.mark.gpu
def test_work_goes_to_the_current_stream():
    """The buffers are shared with the stream that is busy."""
    layers, x = [layer_of("cuda", act=True, seed=seed) for seed in range(2)], inputs("cuda", 70)
    wanted = [expected(layer, -x) for layer in layers]
    outs = [layer(x) for layer in layers]
    torch.cuda.synchronize()
    for number, layer in enumerate(layers):
        with torch.cuda.stream(torch.cuda.Stream()):
            late = torch.zeros_like(x)
            torch.cuda._sleep(10**7)
            outs[number] = layer(late.copy_(-x))
    torch.cuda.synchronize()
    assert all(torch.equal(out, want) for out, want in zip(outs, wanted, strict=True))


@pytest.mark.bug("ST-01 L-61 BF-08")
@pytest.mark.gpu
@pytest.mark.parametrize("rows", [1, 9, 70])
def test_a_captured_graph_computes_anew_on_replay(rows):
    """Also when the buffers were replaced in between."""
    layer, x = layer_of("cuda", act=True), inputs("cuda", rows)
    layer(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = layer(x)
    layer(inputs("cuda", 200))
    gc.collect()
    torch.cuda.empty_cache()
    x.neg_()
    graph.replay()
    assert torch.equal(out, expected(layer, x))


@pytest.mark.bug("BF-08")
@pytest.mark.gpu
def test_a_capture_before_the_first_call_is_refused():
    """Nothing can be rearranged or allocated for good in there."""
    layer, x = layer_of("cuda", act=True), inputs("cuda", 3)
    with torch.cuda.graph(torch.cuda.CUDAGraph()):
        x.neg_()  # a graph without work warns
        with pytest.raises(RuntimeError, match="before the capture"):
            layer(x)


@pytest.mark.bug("BF-06 L-64")
@pytest.mark.gpu
def test_an_allocation_that_fails_is_told_at_once():
    """And once there is room again, the layer works."""
    layer, x = layer_of("cuda", k=8192, n=16384, act=True), inputs("cuda", 3, k=8192)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            layer(x)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert is_right(layer, x)


@pytest.mark.bug("L-68 B-30")
@pytest.mark.gpu
def test_a_layer_moves_between_the_cpu_and_a_gpu():
    """Both builds in one process; no handle of one is taken by the other."""
    layer, x = layer_of("cpu", act=True), inputs("cpu", 9)
    want = layer(x)
    there = layer.made().handle
    assert torch.equal(layer.cuda()(x.cuda()).cpu(), want)
    assert torch.equal(layer.cpu()(x), want)
    out = torch.empty(9, N, dtype=torch.half, device="cuda")
    with pytest.raises(ValueError, match="handle"):
        exllama.q4_matmul(x.cuda(), there, out)


@pytest.mark.bug("ST-02 L-67 L-70 BF-02 B-25")
@pytest.mark.gpu
def test_layers_on_two_devices_do_not_meet():
    if torch.cuda.device_count() < 2:
        pytest.skip("one_gpu")
    layers = [layer_of(f"cuda:{number}", act=True, seed=number) for number in (1, 0)]
    for layer in layers * 2:
        assert is_right(layer, inputs(layer.qweight.device, 70))
        assert torch.cuda.current_device() == 0
    with pytest.raises(ValueError, match="must be on"):
        layers[0](inputs("cuda:0", 3))
