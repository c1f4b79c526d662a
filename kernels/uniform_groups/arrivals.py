"""Counters of the programs that have added their share of K: zeros before and after every product.

Products on one stream follow each other, and so share theirs. So do those that one CUDA graph
records from one stream; another graph may run beside it, and gets counters of its own.
"""

import ctypes
import functools
import threading

import torch

from .. import checks

COUNTERS = 2**20  # of a device, made once: 4 MiB
LEAST = 256  # that a stream gets
_of_device = {}
_lock = threading.Lock()


def arrivals(device, number, stream=None):
    """int32 [at least `number`], all zero; a product leaves them so.

    `stream`: the driver's handle of the current one, where it is known already.
    """
    if device.type != "cuda":
        return torch.zeros(number, dtype=torch.int32, device=device)
    capturing, counters = checks.is_capturing(device), _of_device.get(device)
    if counters is None:
        if capturing:
            return torch.zeros(number, dtype=torch.int32, device=device)  # by the graph, each time
        counters = _of_device.setdefault(device, _Counters(device))
    if stream is None:
        stream = torch.cuda.current_stream(device).cuda_stream
    return counters.of((_graph_recorded(stream) if capturing else None, stream), number)


class _Counters:
    def __init__(self, device):
        self._zeros = torch.zeros(COUNTERS, dtype=torch.int32, device=device)
        torch.cuda.current_stream(device).synchronize()  # other streams read them too
        self._used, self._taken = 0, {}

    def of(self, key, number):
        known = self._taken.get(key)
        if known is not None and known.numel() >= number:
            return known
        with _lock:
            first, last = self._used, self._used + max(LEAST, number)
            if last > COUNTERS:
                return torch.zeros(number, dtype=torch.int32, device=self._zeros.device)
            self._used = last
            taken = self._taken[key] = self._zeros[first:last]
        return taken


@functools.cache
def _driver():
    return ctypes.CDLL("libcuda.so.1")


def _graph_recorded(stream):
    """The driver's number of the graph that this stream records: unique in a process."""
    status, number = ctypes.c_int(), ctypes.c_uint64()
    failed = _driver().cuStreamGetCaptureInfo(
        ctypes.c_void_p(stream), ctypes.byref(status), ctypes.byref(number)
    )
    if failed:
        raise RuntimeError(f"cuStreamGetCaptureInfo returned {failed}")
    return number.value
