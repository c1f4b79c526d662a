"""Work of the ExLlama extension that a GPU has not done yet keeps its memory, and its turn.

The extension is called by itself: our layers and modules keep tensors alive for longer than it.
"""

import time

import pytest
import torch

from kernels.exllama.build import extension
from tests.exllama.layers import K, N, fresh, inputs, layer_of

__all__ = ["fresh"]
pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("fresh")]
BUSY = 10**9  # cycles, half a second: far longer than the host takes to notice
WRITTEN_OUT = (-1, False, False)  # tuning: weights always go through temp_dq, which all share


@pytest.fixture
def build():
    return extension("cuda")


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
def test_cleanup_waits_for_what_still_reads_the_matrices(build):
    """Another stream may get their memory next. Without buffers nothing else waits."""
    layer, x, out = layer_of("cuda"), inputs("cuda", 3), result()
    handle = layer.made().handle
    stream = keep_busy(lambda: build.q4_matmul(x, handle, out))
    build.cleanup()
    assert stream.query()


@pytest.mark.bug("ST-01 L-61 B-23")
def test_products_in_the_same_scratch_memory_take_turns(build):
    """Each on a stream of its own, which knows nothing of the other."""
    layers, x, out = [layer_of("cuda", seed=seed) for seed in range(2)], inputs("cuda", 3), result()
    first, second = [layer.made().handle for layer in layers]
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
    """Memory of a GPU; as it is given back, it tells whether a stream had come to its end."""

    def __init__(self, elements, told):
        self._block = torch.empty(elements, dtype=torch.half, device="cuda")
        self._told, self.stream = told, torch.cuda.current_stream()

    @property
    def __cuda_array_interface__(self):
        return self._block.__cuda_array_interface__

    def __del__(self):
        self._told.append(self.stream.query())


@pytest.mark.bug("ST-01 L-61")
def test_buffers_are_kept_until_the_last_product_in_them_is_done(build):
    """Their owner may have nothing but the extension's word for it."""
    layer, x, out, told = layer_of("cuda"), inputs("cuda", 3), result(), []
    handle = layer.made().handle
    lent = [Lent(elements, told) for elements in (3 * K, N * K)]
    build.set_tuning_params(*WRITTEN_OUT)
    build.prepare_buffers(x.device, *(torch.as_tensor(one, device="cuda") for one in lent))
    stream = keep_busy(lambda: build.q4_matmul(x, handle, out))
    for one in lent:
        one.stream = stream
    del lent, one
    others = [torch.empty(1, dtype=torch.half, device="cuda") for _ in range(2)]
    build.prepare_buffers(x.device, *others)
    assert told == [True, True]
