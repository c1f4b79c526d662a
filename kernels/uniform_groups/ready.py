"""The short way of a layer: what it multiplied before, launched again with nothing looked up.

What a product needs - checks, plan, binaries, arguments - takes the host ten times as long to find
out as to launch it, and follows from the kind of x and from weights that nobody has written to.
"""

from typing import NamedTuple

import torch
from torch.autograd import forward_ad

from .. import checks
from ..custom_autotune.launch_path import hooks_around
from . import product, wgmma
from .arrivals import arrivals
from .described_launch import DescribedLaunch
from .plan import DENSE, FEW_TILE, WGMMA, plan, processors

LIMIT = 256  # kinds of x that are remembered; a server pads its batches to a few dozen
ALIGNED = 16  # bytes, as the binaries want of every tensor
NAMES = ("qweight", "scales", "qzeros", "g_idx")


class Launch(NamedTuple):
    """A binary, its grid, and what follows the pointers in its arguments."""

    start: object  # of the binary
    grid: tuple
    about: tuple  # the binary: what `start` wants to know of it
    rest: tuple

    def run(self, stream, *pointers):
        self.start(*self.grid, stream, *self.about, *pointers, *self.rest)


class Multiply(NamedTuple):
    """A launch that takes addresses of x, of weights and of results."""

    launch: Launch
    weights: tuple

    def run(self, stream, x, *results):
        self.launch.run(stream, x.data_ptr(), *self.weights, *results)


class ReadyProduct(NamedTuple):
    """x [rows, K], contiguous, times weights: for x of one shape and dtype."""

    rows: int
    shares: int
    counters: int
    multiply: Multiply | DescribedLaunch
    arrange: Launch | None  # of x, before
    order: tuple  # pointers that this takes behind x and what it writes


class ReadyProducts:
    """Those of the weights of one layer, for as long as these are the same and as they were."""

    def __init__(self, weights):
        """weights: tensors by NAMES, on a CUDA device, for which `matmul248` has been called."""
        self._kept = [(name, weights[name], *_state(weights[name])) for name in NAMES]
        self._device = weights["qweight"].device
        self._columns = weights["qweight"].shape[1]
        self._by_kind = {}

    def product(self, x, weights):
        """x [..., K] times the weights, `weights` being those by NAMES now; None: not this way."""
        if type(x) is not torch.Tensor:
            return None
        known = self._by_kind.get((x.shape, x.dtype))
        if known is None or not (self._is_plain(x) and self.is_of(weights)) or any(hooks_around()):
            return None
        device, rows, N = self._device, known.rows, self._columns
        stream = torch._C._cuda_getCurrentRawStream(device.index)
        out = x.new_empty((*x.shape[:-1], N))
        left, parts, arrived = x, out, out  # the latter two not touched
        if known.shares > 1:
            parts = x.new_empty((known.shares, rows, N), dtype=torch.float32)
            arrived = arrivals(device, known.counters, stream)
        if known.arrange is not None:
            left = torch.empty_like(x)
            known.arrange.run(stream, x.data_ptr(), left.data_ptr(), *known.order)
        results = out.data_ptr(), parts.data_ptr(), arrived.data_ptr()
        known.multiply.run(stream, left, *results)
        return out

    def is_of(self, weights):
        """Whether these are the same tensors, unwritten as torch counts writes."""
        for name, tensor, version, address in self._kept:
            now = weights.get(name)
            if now is not tensor or now._version != version or now.data_ptr() != address:
                return False
        return True

    def _is_plain(self, x):
        """Whether x is a tensor of memory, and nobody but this call has to hear of the product."""
        return (
            x.is_cuda
            and x.layout is torch.strided
            and x.is_contiguous()
            and x.get_device() == self._device.index == torch._C._cuda_getDevice()
            and x.data_ptr() % ALIGNED == 0
            and not (
                torch.is_grad_enabled() and (x.requires_grad or self._kept[1][1].requires_grad)
            )
            and not (x.is_neg() or x._is_zerotensor())
            and not torch.is_autocast_enabled("cuda")
            and not torch._C._len_torch_dispatch_stack()
            and not torch._C._len_torch_function_stack()
            and torch._C._functorch.peek_interpreter_stack() is None
            and not torch.jit.is_tracing()
            and forward_ad._current_level < 0
        )

    def prepare(self, x, bits):
        """Remember how to multiply such an x, which `matmul248` has just multiplied."""
        kind = x.shape, x.dtype
        if kind in self._by_kind or not self._is_plain(x) or checks.is_capturing(self._device):
            return
        if len(self._by_kind) >= LIMIT:
            self._by_kind.clear()
        self._by_kind[kind] = self._found(x, bits) if x.numel() else None

    def _found(self, x, bits):
        """The ReadyProduct; None where the host's time is not what counts, or others take x."""
        qweight, scales, qzeros, g_idx = (tensor for _, tensor, _, _ in self._kept)
        rows = x.view(-1, len(g_idx))
        weights = product.uniform_weights(rows, qweight, scales, qzeros, g_idx, bits)
        if weights is None:
            return None
        sizes = (len(rows), self._columns, len(g_idx), bits, weights.rows_per_group)
        ordered = weights.order is not None
        chosen = plan(*sizes, processors(self._device), ordered, tma=weights.tma)
        kind = chosen.tile.kind
        if kind == DENSE or (ordered and len(rows) > FEW_TILE.rows):
            return None
        self._weights = weights  # whose memory the launches read
        arranged = chosen.tile.arranges or ordered
        arrange, order = None, () if weights.order is None else (weights.order.data_ptr(),)
        if arranged:
            left = torch.empty_like(rows)
            fields = weights.fields if chosen.tile.kind != WGMMA else 0
            found = product.arranging(rows, left, weights.order, fields)
            arrange = _launch(*found, 2 + ordered)
            if arrange is None:
                return None
        compiled = self._by_tma if kind == WGMMA else self._by_pointers
        multiply = compiled(rows, weights, chosen, arranged)
        return multiply and ReadyProduct(len(rows), chosen.shares, *multiply, arrange, order)

    def _by_pointers(self, rows, weights, chosen, arranged):
        out, parts, arrived = _results(rows, self._columns, chosen)
        arguments = product.fused_arguments(rows, weights, out, parts, arrived, chosen, arranged)
        grid = chosen.grid(len(rows), self._columns)
        multiply = _launch(product.fused[chosen.tile], arguments, grid, 7)
        packed = tuple(tensor.data_ptr() for tensor in weights.packed)
        return multiply and (grid[0], Multiply(multiply, packed))

    def _by_tma(self, rows, weights, chosen, arranged):
        results = _results(rows, self._columns, chosen)
        kernel, values = wgmma.compiled(weights, rows, *results, chosen, arranged)
        grid = chosen.grid(len(rows), self._columns)
        x, weights = values[0], values[1:4]
        multiply = DescribedLaunch(kernel, grid, x, weights, values[7:])
        return wgmma.counters(len(rows), self._columns, chosen), multiply


def _results(rows, columns, chosen):
    """Tensors of the kinds of out, parts and counters, for a kernel to be found by."""
    out = rows.new_empty(len(rows), columns)
    if chosen.shares == 1:
        return out, out, out
    parts = rows.new_empty(ALIGNED, dtype=torch.float32)
    return out, parts, parts.view(torch.int32)


def _launch(launcher, arguments, grid, pointers):
    """The launch of a kernel whose first arguments are so many pointers; None if it is unknown."""
    found = launcher.compiled(*arguments)
    if found is None:
        return None
    kernel, values = found
    about = (kernel.function, kernel.packed_metadata, None, None, None)  # no hooks
    return Launch(kernel.run, grid, about, values[pointers:])


def _state(tensor):
    return tensor._version, tensor.data_ptr()
