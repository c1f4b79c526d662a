"""The layer that servers put around the ExLlama extension: 4-bit GPTQ weights, float16 activations.

Matrices and scratch buffers are created when they are needed, and anew when the weights, their
device or the extension's state have changed. `create_exllama_buffers` creates them ahead of time.
"""

import weakref

import torch

from .. import checks, exllama
from ..packed_linear import PackedLinear

BITS = 4
DTYPE = torch.float16
# What servers pass: reconstruction from 8 rows on where it pays, a pass of its own for the remap.
TUNING = {"matmul_recons_thd": 8, "matmul_fused_remap": False, "matmul_no_half2": False}

_layers = weakref.WeakSet()  # all that live, for the size of the buffers


def create_exllama_buffers(max_total_tokens):
    """Buffers for the largest living layer of each device and this many rows; all matrices too.

    Not needed for right results: without it, the first calls allocate what they need. It is what
    makes room before a CUDA graph is captured.
    """
    if isinstance(max_total_tokens, bool) or not isinstance(max_total_tokens, int):
        raise TypeError(f"max_total_tokens must be an integer, not {max_total_tokens!r}")
    if max_total_tokens < 1:
        raise ValueError(f"max_total_tokens must be positive, not {max_total_tokens}")
    exllama.set_tuning_params(**TUNING)
    matrices = [layer.matrix() for layer in _layers if checks.has_data(layer.qweight)]
    for matrix in matrices:  # the first of a device makes room for the largest
        _make_room(matrix, max_total_tokens)


class ExllamaQuantLinear(PackedLinear):
    """y = x W + bias for packed 4-bit W, from the operands of a `PackedLinear`; all of it float16.

    Scales must be float16 when the layer is created; x [..., K] always.
    """

    SCALES = (DTYPE,)

    def __init__(self, qweight, qzeros, scales, g_idx, bias, bits, groupsize):
        if isinstance(bits, bool) or not isinstance(bits, int) or bits != BITS:
            raise NotImplementedError(f"bits must be {BITS}, not {bits!r}")
        checks.require_tensor("scales", scales, 2, self.SCALES)
        checks.require_group_size(groupsize)
        super().__init__(qweight, qzeros, scales, g_idx, bias, bits, groupsize)
        self._matrix = None
        _layers.add(self)

    def forward(self, x):
        if torch.jit.is_tracing():  # a trace would not hold the product
            raise NotImplementedError("the layer cannot be traced: use QuantLinear")
        if self._matrix is not None:
            out = self._matrix.product(x, self._buffers)
            if out is not None:
                return out if self.bias is None else out.add_(self.bias.to(DTYPE))
        return self._checked(x)

    def _checked(self, x):
        """The same with every check, for what is new or wrong."""
        x = checks.autocast(x)
        checks.require_activations("x", x, self.infeatures, self.qweight.device)
        checks.require_tensor("x", x, None, (DTYPE,))
        if x.requires_grad and torch.is_grad_enabled():
            raise NotImplementedError("there is no gradient: use QuantLinear, or torch.no_grad()")
        rows = checks.in_memory(x).reshape(-1, self.infeatures)
        if rows.stride(1) != 1 or rows.stride(0) < self.infeatures:
            rows = rows.contiguous()
        matrix = self.matrix()
        _make_room(matrix, rows.shape[0])
        out = torch.empty(rows.shape[0], self.outfeatures, dtype=DTYPE, device=x.device)
        exllama.q4_matmul(rows.detach(), matrix.handle, out)
        if self.bias is not None:
            out += self.bias.to(DTYPE)
        return out.view(*x.shape[:-1], self.outfeatures)

    def matrix(self):
        """That of the present weights; another one where they have changed."""
        weights = (self.qweight, self.qzeros, self.scales, self.g_idx)
        if self._matrix is None or not self._matrix.is_of(weights):
            _require_no_capture(self.qweight.device)
            self._matrix = _Matrix(weights)
        return self._matrix

    def _apply(self, fn, recurse=True):
        """After `.to()` and its like, do not keep the old weights alive until the next call."""
        super()._apply(fn, recurse)
        weights = (self.qweight, self.qzeros, self.scales, self.g_idx)
        if self._matrix is not None and not self._matrix.is_of(weights):
            self._matrix = None
        return self

    def _load_from_state_dict(self, *args):
        super()._load_from_state_dict(*args)
        self._matrix = None

    def __getstate__(self):
        return self.__dict__ | {"_matrix": None}  # a copy has one of its own

    def __setstate__(self, state):
        super().__setstate__(state)
        _layers.add(self)


class _Matrix:
    """What the extension holds for a layer: its handle, and the weights that it is of."""

    def __init__(self, weights):
        qweight, qzeros, scales, g_idx = (
            checks.in_memory(tensor).contiguous() for tensor in weights
        )
        device = qweight.device
        if device.type not in ("cpu", "cuda"):
            raise ValueError(f"the layer must be on a CPU or a CUDA device, it is on {device}")
        number = exllama.CPU if device.type == "cpu" else device.index
        g_idx = g_idx.cpu()
        self.handle = exllama.make_q4(qweight, qzeros, _in_half(scales), g_idx, number)
        self.generation = exllama.generation()
        self.device = device
        self.columns = g_idx.shape[0]
        self.is_sorted = bool((g_idx[1:] >= g_idx[:-1]).all())
        self.elements = self.columns * qweight.shape[1]
        self._product = exllama.build_of(device).product
        exllama.build_of(device).watch(self.handle, weights)
        self._weights = weights
        self._states = [checks.state_of(tensor) for tensor in weights]
        # These hold the memory: no other tensor can lie at its address while they live.
        self._memory = [tensor.detach() for tensor in weights]

    def product(self, x, buffers):
        """x times the weights, where these are `buffers` still and x is plain; else None."""
        if not isinstance(x, torch.Tensor):
            return None
        weights = [buffers["qweight"], buffers["qzeros"], buffers["scales"], buffers["g_idx"]]
        return self._product(x, self.handle, weights)

    def is_of(self, weights):
        """Whether the handle is still known and the weights are the same tensors, unwritten."""
        return self.generation == exllama.generation() and all(
            now is before and checks.state_of(now) == state
            for now, before, state in zip(weights, self._weights, self._states, strict=True)
        )


def _in_half(scales):
    """Scales as float16: casts of the whole module must not have changed what they are."""
    half = scales.to(DTYPE)
    if half is not scales and not bool(((half == scales) | scales.isnan()).all()):
        raise ValueError(f"scales must be exact in {DTYPE}, these {scales.dtype} are not")
    return half


def _make_room(matrix, rows):
    """Buffers for a call; when they grow, for the largest living layer on the device."""
    device, present = matrix.device, exllama.buffers(matrix.device)
    state, dq = (tensor.numel() for tensor in present) if present else (0, 0)
    if present and state >= _state_elements(matrix, rows) and dq >= matrix.elements:
        return
    _require_no_capture(device)
    alive = [layer._matrix for layer in _layers if layer._matrix and layer._matrix.device == device]
    state = max(state, *(_state_elements(one, rows) for one in [matrix, *alive]))
    dq = max(dq, *(one.elements for one in [matrix, *alive]))
    exllama.prepare_buffers(
        device, *(torch.empty(size, dtype=DTYPE, device=device) for size in (state, dq))
    )


def _state_elements(matrix, rows):
    """Of temp_state: the pass that sorts x is for weights whose rows are not in order."""
    return 0 if matrix.is_sorted else rows * matrix.columns


def _require_no_capture(device):
    checks.require_no_capture(
        "the layer is not ready for so many rows: call create_exllama_buffers, or the layer "
        "itself,", device,
    )  # fmt: skip
