"""The layer that servers put around the ExLlama extension: 4-bit GPTQ weights, float16 activations.

Handles and scratch buffers are made when they are needed and made again when the weights, their
device or the extension's state have changed. `create_exllama_buffers` makes them ahead of time.
"""

import weakref

import torch
from torch import nn

from .. import checks, exllama

BITS = 4
DTYPE = torch.float16
# What servers pass: reconstruction from 8 rows on where it pays, a pass of its own for the remap.
TUNING = {"matmul_recons_thd": 8, "matmul_fused_remap": False, "matmul_no_half2": False}

_layers = weakref.WeakSet()  # all that live, for the size of the buffers


def create_exllama_buffers(max_total_tokens):
    """Buffers for the largest living layer of each device and this many rows; its handles too.

    Not needed for right answers: without it, the first calls allocate what they need. It is what
    makes room before a CUDA graph is captured.
    """
    if isinstance(max_total_tokens, bool) or not isinstance(max_total_tokens, int):
        raise TypeError(f"max_total_tokens must be an integer, not {max_total_tokens!r}")
    if max_total_tokens < 1:
        raise ValueError(f"max_total_tokens must be positive, not {max_total_tokens}")
    exllama.set_tuning_params(**TUNING)
    made = [layer.made() for layer in _layers if checks.has_data(layer.qweight)]
    for one in made:  # the first of a device makes room for the largest
        _make_room(one, max_total_tokens)


class ExllamaQuantLinear(nn.Module):
    """y = x W + bias for 4-bit W; qweight, qzeros, scales, g_idx and bias are buffers.

    qweight [K // 8, N] and qzeros [G, N // 8] int32, scales [G, N] float16, g_idx [K] int32 or None
    for groups of `groupsize` rows in order, bias [N] or None; x [..., K] float16. g_idx is taken
    literally: all zeros is group 0 for every row. A `groupsize` of -1 is one group.
    """

    def __init__(self, qweight, qzeros, scales, g_idx, bias, bits, groupsize):
        super().__init__()
        if isinstance(bits, bool) or not isinstance(bits, int) or bits != BITS:
            raise NotImplementedError(f"bits must be {BITS}, not {bits!r}")
        checks.tensor_of("qweight", qweight, 2, (torch.int32,))
        checks.tensor_of("scales", scales, 2, (DTYPE,))
        K = qweight.shape[0] * checks.WORD_BITS // BITS
        self.groupsize = checks.group_size_of(groupsize, K)
        if g_idx is None:
            g_idx = self._in_order(K, scales, qweight.device)
        K, N, G = checks.weights(qweight, qzeros, scales, g_idx, bits)
        checks.bias_fits(bias, N, qweight.device)
        g_idx = g_idx.detach()
        if checks.has_data(g_idx):
            checks.group_indices(g_idx, G)
        self.bits, self.infeatures, self.outfeatures = bits, K, N
        for name, tensor in (("qweight", qweight), ("qzeros", qzeros), ("scales", scales)):
            self.register_buffer(name, tensor.detach())
        self.register_buffer("g_idx", g_idx)
        self.register_buffer("bias", None if bias is None else bias.detach())
        self._made = None
        _layers.add(self)

    def forward(self, x):
        x = _autocast(x)
        checks.activations("x", x, self.infeatures, self.qweight.device)
        checks.tensor_of("x", x, None, (DTYPE,))
        if x.requires_grad and torch.is_grad_enabled():
            raise NotImplementedError("there is no gradient: use QuantLinear, or torch.no_grad()")
        rows = x.reshape(-1, self.infeatures)
        if rows.stride(1) != 1 or rows.stride(0) < self.infeatures:
            rows = rows.contiguous()
        made = self.made()
        _make_room(made, rows.shape[0])
        out = torch.empty(rows.shape[0], self.outfeatures, dtype=DTYPE, device=x.device)
        exllama.q4_matmul(rows.detach(), made.handle, out)
        if self.bias is not None:
            out += self.bias.to(DTYPE)
        return out.view(*x.shape[:-1], self.outfeatures)

    def made(self):
        """The handle of the present weights and what is known of it; made again where it is not."""
        weights = (self.qweight, self.qzeros, self.scales, self.g_idx)
        if self._made is None or not self._made.is_of(weights):
            _refuse_capture(self.qweight.device)
            self._made = _Made(weights)
        return self._made

    def extra_repr(self):
        return (
            f"infeatures={self.infeatures}, outfeatures={self.outfeatures}, bits={self.bits}, "
            f"groupsize={self.groupsize}, bias={self.bias is not None}"
        )

    def _in_order(self, K, scales, device):
        G = -(-K // self.groupsize)
        if scales.shape[0] != G:
            raise ValueError(
                f"{K} rows in groups of {self.groupsize} are {G} groups, not {scales.shape[0]}"
            )
        return torch.arange(K, device=device, dtype=torch.int32) // self.groupsize

    def _apply(self, fn, recurse=True):
        """After `.to()` and its like, do not keep the old weights alive until the next call."""
        super()._apply(fn, recurse)
        weights = (self.qweight, self.qzeros, self.scales, self.g_idx)
        if self._made is not None and not self._made.is_of(weights):
            self._made = None
        return self

    def _load_from_state_dict(self, state_dict, prefix, *args):
        """Refuse a g_idx that points outside the groups before anything is copied."""
        g_idx = state_dict.get(prefix + "g_idx")
        if isinstance(g_idx, torch.Tensor) and checks.has_data(g_idx) and g_idx.numel():
            checks.group_indices(g_idx, self.scales.shape[0])
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._made = None

    def __getstate__(self):
        return self.__dict__ | {"_made": None}  # a copy makes a handle of its own

    def __setstate__(self, state):
        super().__setstate__(state)
        _layers.add(self)


class _Made:
    """A handle, and what it was made from."""

    def __init__(self, weights):
        qweight, qzeros, scales, g_idx = (tensor.contiguous() for tensor in weights)
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
        self._weights = weights
        # These hold the memory: no other tensor can lie at its address while they live.
        self._states = [(tensor.detach(), _version(tensor)) for tensor in weights]

    def is_of(self, weights):
        """Whether the handle is still known and the weights are the same tensors, unwritten."""
        return self.generation == exllama.generation() and all(
            now is before and now.data_ptr() == held.data_ptr() and _version(now) == version
            for now, before, (held, version) in zip(
                weights, self._weights, self._states, strict=True
            )
        )


def _version(tensor):
    """Grows with each write; inference tensors do not count theirs."""
    return None if tensor.is_inference() else tensor._version


def _in_half(scales):
    """Scales as float16: casts of the whole module must not have changed what they are."""
    made = scales.to(DTYPE)
    if made is not scales and not bool(((made == scales) | scales.isnan()).all()):
        raise ValueError(f"scales must be exact in {DTYPE}, these {scales.dtype} are not")
    return made


def _make_room(made, rows):
    """Buffers for a call of `made`; when they grow, for the largest living layer on its device."""
    present = exllama.buffers(made.device)
    state, dq = (tensor.numel() for tensor in present) if present else (0, 0)
    if present and state >= _state_elements(made, rows) and dq >= made.elements:
        return
    _refuse_capture(made.device)
    others = [layer._made for layer in _layers if layer._made and layer._made.device == made.device]
    state = max(state, *(_state_elements(other, rows) for other in [made, *others]))
    dq = max(dq, *(other.elements for other in [made, *others]))
    buffers = (torch.empty(size, dtype=DTYPE, device=made.device) for size in (state, dq))
    exllama.prepare_buffers(made.device, *buffers)


def _state_elements(made, rows):
    """Of temp_state: the pass that sorts x is for weights whose rows are not in order."""
    return 0 if made.is_sorted else rows * made.columns


def _refuse_capture(device):
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            "a CUDA graph is being captured and the layer is not ready for so many rows: call "
            "create_exllama_buffers, or the layer itself, before the capture"
        )


def _autocast(x):
    """x in float16 inside an autocast region of that dtype; as it is elsewhere."""
    kind = x.device.type
    if kind != "meta" and torch.is_autocast_enabled(kind) and x.dtype in checks.FLOATS:
        return x.to(torch.get_autocast_dtype(kind))
    return x
