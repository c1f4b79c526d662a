"""Scratch buffers, streams, graphs and devices of ExllamaQuantLinear, and what waits for what.

Where the order of work on a GPU matters, the extension is called by itself: our layers and modules
keep tensors alive for longer than it.
"""

import gc
import time

import pytest
import torch

from kernels import exllama
from kernels.exllama import linear
from kernels.exllama.build import extension
from kernels.exllama.linear import create_exllama_buffers
from tests.layers.small import K, N, exllama_linear, expected, inputs, is_right

pytestmark = [pytest.mark.usefixtures("fresh"), pytest.mark.turns(2)]
SIZES = [(64, 40, True), (128, 40, True), (64, 256, False), (192, 16, False)]
BUSY = 10**9  # cycles, half a second: far longer than the host takes to notice
WRITTEN_OUT = (-1, False, False)  # tuning: weights always go through temp_dq, which all share


def room(device):
    """Elements of temp_state and temp_dq."""
    return tuple(buffer.numel() for buffer in exllama.buffers(torch.device(device)))


@pytest.fixture
def here(device):
    """The device of tensors, with its number."""
    return torch.empty(0, device=device).device


@pytest.mark.bug("L-59 L-70 BF-04 BF-05 L-77")
def test_buffers_are_for_the_largest_layer_and_row_count(here, device):
    """What is needed, and no more."""
    layers = [exllama_linear(device, k=k, n=n, act=act) for k, n, act in SIZES]
    create_exllama_buffers(100)
    assert room(here) == (100 * 128, 64 * 256)
    assert all(is_right(layer, inputs(device, 100, k=layer.infeatures)) for layer in layers)
    assert room(here) == (100 * 128, 64 * 256)


@pytest.mark.bug("L-70 L-76 B-21")
def test_buffers_are_for_layers_that_live(here, device):
    """Another model was larger; it is gone."""
    exllama_linear(device, k=512, n=512, act=True)
    gc.collect()
    kept = exllama_linear(device, act=True)
    create_exllama_buffers(7)
    assert room(here) == (7 * K, K * N)
    assert is_right(kept, inputs(device, 7))


@pytest.mark.bug("BF-01 BF-04 L-59")
def test_a_layer_or_rows_beyond_the_buffers_make_them_grow(here, device):
    """Made after them, called with more rows, or after the caller's own."""
    first = exllama_linear(device, act=True)
    create_exllama_buffers(4)
    later = exllama_linear(device, k=128, n=64, act=True)
    assert is_right(later, inputs(device, 5, k=128))
    assert is_right(first, inputs(device, 50))
    assert room(here) == (50 * 128, 128 * 64)
    one = torch.zeros(1, dtype=torch.half, device=device)
    exllama.prepare_buffers(here, one, one.clone())
    assert is_right(later, inputs(device, 5, k=128))


@pytest.mark.bug("BF-05")
def test_room_that_is_just_enough_is_kept(device):
    """A call that fits makes no buffers."""
    layer = exllama_linear(device, act=True)
    create_exllama_buffers(4)
    before = [buffer.data_ptr() for buffer in exllama.buffers(layer.qweight.device)]
    assert is_right(layer, inputs(device, 4))
    assert [b.data_ptr() for b in exllama.buffers(layer.qweight.device)] == before


@pytest.mark.bug("BF-04")
@pytest.mark.parametrize("sizes", [(1, 3, 2), (2, 1, 3), (3, 2, 1)])
def test_the_first_of_many_layers_makes_room_for_the_largest(device, monkeypatch, sizes):
    """Once, whichever is first."""
    layers = [exllama_linear(device, k=K * size, act=True) for size in sizes]
    monkeypatch.setattr(linear, "_layers", layers)  # a set of them has no order
    calls, prepare = [], exllama.prepare_buffers
    monkeypatch.setattr(exllama, "prepare_buffers", lambda *a: calls.append(1) or prepare(*a))
    create_exllama_buffers(4)
    assert len(calls) == 1
    assert all(is_right(layer, inputs(device, 4, k=layer.infeatures)) for layer in layers)


def test_buffers_do_not_count_layers_without_data():
    exllama_linear("meta")
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
    layers = [exllama_linear("cuda", act=True, seed=seed) for seed in range(2)]
    x = inputs("cuda", 70)
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
    layer, x = exllama_linear("cuda", act=True), inputs("cuda", rows)
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
    layer, x = exllama_linear("cuda", act=True), inputs("cuda", 3)
    with torch.cuda.graph(torch.cuda.CUDAGraph()):
        x.neg_()  # a graph without work warns
        with pytest.raises(RuntimeError, match="before the capture"):
            layer(x)


@pytest.mark.bug("BF-06 L-64")
@pytest.mark.gpu
def test_an_allocation_that_fails_raises_at_once():
    """And once there is room again, the layer works."""
    layer, x = exllama_linear("cuda", k=8192, n=16384, act=True), inputs("cuda", 3, k=8192)
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
    layer, x = exllama_linear("cpu", act=True), inputs("cpu", 9)
    want = layer(x)
    there = layer.matrix().handle
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
    layers = [exllama_linear(f"cuda:{number}", act=True, seed=number) for number in (1, 0)]
    for layer in layers * 2:
        assert is_right(layer, inputs(layer.qweight.device, 70))
        assert torch.cuda.current_device() == 0
    with pytest.raises(ValueError, match="must be on"):
        layers[0](inputs("cuda:0", 3))


def keep_busy(multiply):
    """A stream with `multiply()` waiting behind a long pause."""
    multiply()  # what is loaded at a first call makes the host wait
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(BUSY)
        multiply()
    assert not stream.query()  # else nothing here could be seen to wait
    return stream


def result():
    return torch.zeros(3, N, dtype=torch.half, device="cuda")


@pytest.mark.bug("ST-01 L-76")
@pytest.mark.gpu
def test_cleanup_waits_for_what_still_reads_the_matrices():
    """Another stream may get their memory next. Without buffers nothing else waits."""
    build = extension("cuda")
    layer, x, out = exllama_linear("cuda"), inputs("cuda", 3), result()
    handle = layer.matrix().handle
    stream = keep_busy(lambda: build.q4_matmul(x, handle, out))
    build.cleanup()
    assert stream.query()


@pytest.mark.bug("ST-01 L-61 B-23")
@pytest.mark.gpu
def test_products_in_the_same_scratch_memory_take_turns():
    """Each on a stream of its own, which knows nothing of the other."""
    build = extension("cuda")
    layers = [exllama_linear("cuda", seed=seed) for seed in range(2)]
    x, out = inputs("cuda", 3), result()
    first, second = [layer.matrix().handle for layer in layers]
    build.set_tuning_params(*WRITTEN_OUT)
    build.prepare_buffers(x.device, *(torch.empty(K * N).half().cuda() for _ in range(2)))
    build.q4_matmul(x, second, result())
    late = keep_busy(lambda: build.q4_matmul(x, first, result()))
    with torch.cuda.stream(torch.cuda.Stream()):
        build.q4_matmul(x, second, out)
    time.sleep(0.1)  # enough for one that does not wait
    with torch.cuda.stream(torch.cuda.Stream()):  # which waits for none of them
        seen = out.cpu()
    assert (late.query(), seen.any().item()) == (False, False)
    torch.cuda.synchronize()
    assert out.any()


class Lent:
    """Memory of a GPU; notes, as it is given back, whether a stream had finished its work."""

    def __init__(self, elements, finished):
        self._block = torch.empty(elements, dtype=torch.half, device="cuda")
        self._finished, self.stream = finished, torch.cuda.current_stream()

    @property
    def __cuda_array_interface__(self):
        return self._block.__cuda_array_interface__

    def __del__(self):
        self._finished.append(self.stream.query())


@pytest.mark.bug("ST-01 L-61")
@pytest.mark.gpu
def test_buffers_are_kept_until_the_last_product_in_them_is_done():
    """Their owner may have nothing but the extension's word for it."""
    build = extension("cuda")
    layer, x, out, finished = exllama_linear("cuda"), inputs("cuda", 3), result(), []
    handle = layer.matrix().handle
    lent = [Lent(elements, finished) for elements in (3 * K, N * K)]
    build.set_tuning_params(*WRITTEN_OUT)
    build.prepare_buffers(x.device, *(torch.as_tensor(one, device="cuda") for one in lent))
    stream = keep_busy(lambda: build.q4_matmul(x, handle, out))
    for one in lent:
        one.stream = stream
    del lent, one
    others = [torch.empty(1, dtype=torch.half, device="cuda") for _ in range(2)]
    build.prepare_buffers(x.device, *others)
    assert finished == [True, True]
