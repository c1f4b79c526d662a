"""Work of the ExLlama extension that a GPU has not done yet keeps its memory, and its turn."""

import time

import pytest
import torch

from kernels import exllama
from kernels.exllama_build import extension

from .exllama_layers import K, fresh, inputs, layer_of

__all__ = ["fresh"]
pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("fresh")]
BUSY = 10**9  # cycles, half a second: far longer than the host takes to notice
ALWAYS_WRITTEN_OUT = (-1, False, False)  # weights go through temp_dq, which all products share


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


def test_cleanup_waits_for_what_still_reads_the_matrices():
    """ST-01, L-76: another stream may get their memory next."""
    layer, x = layer_of("cuda"), inputs("cuda", 3)
    stream = keep_busy(lambda: layer(x))
    exllama.cleanup()
    assert stream.query()


def test_products_in_the_same_scratch_memory_take_turns():
    """ST-01, L-61, B-23: each on a stream of its own, which knows nothing of the other."""
    exllama.set_tuning_params(*ALWAYS_WRITTEN_OUT)
    layers, x = [layer_of("cuda", seed=seed) for seed in range(2)], inputs("cuda", 3)
    layers[1](x)
    late = keep_busy(lambda: layers[0](x))
    with torch.cuda.stream(torch.cuda.Stream()):
        layers[1](x)
        done = torch.cuda.current_stream().record_event()
    time.sleep(0.1)  # enough for one that does not wait
    assert not late.query()
    assert not done.query()
    torch.cuda.synchronize()


class Lent:
    """Memory of a GPU; as it is given back, it tells whether a stream had come to its end."""

    def __init__(self, elements, told):
        self._block = torch.empty(elements, dtype=torch.half, device="cuda")
        self._told, self.stream = told, None

    @property
    def __cuda_array_interface__(self):
        return self._block.__cuda_array_interface__

    def __del__(self):
        self._told.append(self.stream.query())


def test_buffers_are_kept_until_the_last_product_in_them_is_done():
    """ST-01, L-61: their owner may have nothing but the extension's word for it."""
    layer, x, told, build = layer_of("cuda"), inputs("cuda", 3), [], extension("cuda")
    handle, out = layer.made().handle, torch.empty(3, layer.outfeatures, dtype=x.dtype).cuda()
    lent = [Lent(elements, told) for elements in (3 * K, layer.outfeatures * K)]
    build.set_tuning_params(*ALWAYS_WRITTEN_OUT)
    build.prepare_buffers(x.device, *(torch.as_tensor(one, device="cuda") for one in lent))
    stream = keep_busy(lambda: build.q4_matmul(x, handle, out))
    for one in lent:
        one.stream = stream
    del lent, one
    fresh_ones = [torch.empty(1, dtype=torch.half, device="cuda") for _ in range(2)]
    build.prepare_buffers(x.device, *fresh_ones)
    assert told == [True, True]
