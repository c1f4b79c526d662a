"""Linear layer over 2, 4 or 8-bit GPTQ weights."""

import torch
from torch import nn

from . import checks, packing
from .operators import (
    matmul248,
    matmul_op,
    refuse_scale_gradient,
    sequential_g_idx,
    transpose_matmul248,
    transpose_matmul_op,
)
from .triton_matmul import matmul_248_kernel, transpose_matmul_248_kernel

__all__ = [
    "QuantLinear",
    "QuantLinearFunction",
    "matmul248",
    "matmul_248_kernel",
    "transpose_matmul248",
    "transpose_matmul_248_kernel",
]


class QuantLinearFunction(torch.autograd.Function):
    """input [..., K] times the frozen W [K, N]; under autocast, input is cast to its dtype."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cuda")
    def forward(ctx, input, qweight, scales, qzeros, g_idx, bits, maxq):
        checks.maxq_agrees(maxq, bits)
        checks.are_tensors(x=input, qweight=qweight, scales=scales, qzeros=qzeros, g_idx=g_idx)
        refuse_scale_gradient(ctx)
        ctx.save_for_backward(qweight, scales, qzeros, g_idx)
        ctx.bits, ctx.input_dtype = bits, input.dtype
        input = _autocast(input)
        return matmul_op(input, qweight, scales, qzeros, g_idx, bits)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cuda")
    def backward(ctx, grad_output):
        grad_input = None
        if ctx.needs_input_grad[0]:
            grad_input = transpose_matmul_op(grad_output, *ctx.saved_tensors, ctx.bits)
            grad_input = grad_input.to(ctx.input_dtype)
        return grad_input, None, None, None, None, None, None


def _autocast(x):
    """x in the dtype of the enclosing autocast region; as it is outside of one."""
    kind = x.device.type
    if kind != "meta" and torch.is_autocast_enabled(kind) and x.dtype in checks.FLOATS:
        return x.to(torch.get_autocast_dtype(kind))
    return x


class QuantLinear(nn.Module):
    """y = x W + bias for packed W; qweight, qzeros, scales, g_idx and bias are buffers.

    qweight [K // pack_factor, N] and qzeros [G, N // pack_factor] int32, scales [G, N], g_idx [K]
    int32 or None for groups of `groupsize` rows in order, bias [N] or None. g_idx is taken
    literally: all zeros is group 0 for every row. A `groupsize` of -1 is one group.
    """

    def __init__(self, qweight, qzeros, scales, g_idx, bias, bits, groupsize):
        super().__init__()
        if g_idx is None:
            g_idx = sequential_g_idx(qweight, scales, bits, groupsize)
        K, N, G = checks.weights(qweight, qzeros, scales, g_idx, bits)
        checks.bias_fits(bias, N, qweight.device)
        g_idx = g_idx.detach()
        if checks.has_data(g_idx):
            checks.group_indices(g_idx, G)
        self.bits = bits
        self.maxq = 2**bits - 1
        self.groupsize = checks.group_size_of(groupsize, K)
        self.infeatures = K
        self.outfeatures = N
        self.register_buffer("qweight", qweight.detach())
        self.register_buffer("qzeros", qzeros.detach())
        self.register_buffer("scales", scales.detach())
        self.register_buffer("g_idx", g_idx)
        self.register_buffer("bias", None if bias is None else bias.detach())

    @classmethod
    def new(cls, bits, groupsize, infeatures, outfeatures, bias):
        """A layer of zeros, to be packed or loaded; float16 scales and bias."""
        checks.bits_supported(bits)
        checks.whole_words("infeatures", infeatures, bits)
        checks.whole_words("outfeatures", outfeatures, bits)
        G = -(-infeatures // checks.group_size_of(groupsize, infeatures))
        pack_factor = checks.WORD_BITS // bits
        return cls(
            torch.zeros(infeatures // pack_factor, outfeatures, dtype=torch.int32),
            torch.zeros(G, outfeatures // pack_factor, dtype=torch.int32),
            torch.zeros(G, outfeatures, dtype=torch.float16),
            None,
            torch.zeros(outfeatures, dtype=torch.float16) if bias else None,
            bits,
            groupsize,
        )

    def pack(self, linear, scales, zeros, g_idx=None):
        """Quantise linear.weight onto scales and zeros, both [outfeatures, G], and store it.

        A weight becomes round(weight / scale + zero) with the scale as stored, in float16, clamped
        to [0, maxq]; zeros are integers in [0, maxq]. Without g_idx the present one stays. What
        cannot be stored raises and leaves the layer as it was; no argument is changed. Takes
        nn.Linear, transformers' Conv1D and ungrouped convolutions (as matrices).
        """
        if not checks.has_data(self.qweight):
            raise ValueError("the layer has no data (meta device): nothing can be stored in it")
        weight = self._weight_of(linear)
        self._check_grid(scales, zeros)
        g_idx = self.g_idx if g_idx is None else g_idx
        checks.tensor_of("g_idx", g_idx, 1, (torch.int32,))
        if len(g_idx) != self.infeatures:
            raise ValueError(f"g_idx must have {self.infeatures} values, not {len(g_idx)}")
        checks.group_indices(g_idx, len(self.scales))
        checks.bias_fits(linear.bias, self.outfeatures, weight.device)
        at, here = weight.device, self.qweight.device
        bias = linear.bias
        if bias is not None:
            bias = packing.finite_half("bias", bias).to(here, copy=True)
        packed = packing.pack_layer(weight, scales.to(at), zeros.to(at), g_idx.to(at), self.bits)
        qweight, qzeros, scales = (tensor.to(here) for tensor in packed)
        g_idx = g_idx.to(here, copy=True)
        self.qweight, self.qzeros, self.scales = qweight, qzeros, scales
        self.g_idx, self.bias = g_idx, bias

    def forward(self, x):
        weights = (self.qweight, self.scales, self.qzeros, self.g_idx)
        if torch.compiler.is_compiling():
            # Tracing the function would work, but warns; the operator has the same gradient.
            out = matmul_op(_autocast(x), *weights, self.bits)
        else:
            out = QuantLinearFunction.apply(x, *weights, self.bits, self.maxq)
        return out if self.bias is None else out + self.bias.to(out.dtype)

    @property
    def weight(self):
        """The packed words: int32 [infeatures * bits // 32, outfeatures], not the real weights."""
        return self.qweight

    def extra_repr(self):
        return (
            f"infeatures={self.infeatures}, outfeatures={self.outfeatures}, bits={self.bits}, "
            f"groupsize={self.groupsize}, bias={self.bias is not None}"
        )

    def _check_grid(self, scales, zeros):
        wanted = (self.outfeatures, len(self.scales))
        checks.tensor_of("scales", scales, 2, packing.REALS)
        checks.tensor_of("zeros", zeros, 2, (*packing.REALS, *packing.INTEGERS))
        for name, tensor in (("scales", scales), ("zeros", zeros)):
            if tuple(tensor.shape) != wanted:
                raise ValueError(f"{name} must have shape {wanted}, not {tuple(tensor.shape)}")

    def _weight_of(self, linear):
        """[outfeatures, infeatures], detached."""
        weight = linear.weight.detach()
        if "Conv1D" in (base.__name__ for base in type(linear).__mro__):
            weight = weight.t()  # transformers' Conv1D stores [infeatures, outfeatures]
        if getattr(linear, "groups", 1) != 1:
            raise ValueError(f"a convolution must have one group, not {linear.groups}")
        checks.tensor_of("weight", weight, None, packing.REALS)
        weight = weight.flatten(1)
        if tuple(weight.shape) != (self.outfeatures, self.infeatures):
            wanted = (self.outfeatures, self.infeatures)
            raise ValueError(f"the weight must have shape {wanted}, not {tuple(weight.shape)}")
        return weight

    def _load_from_state_dict(self, state_dict, prefix, *args):
        """Refuse a g_idx that points outside the groups before anything is copied."""
        g_idx = state_dict.get(prefix + "g_idx")
        if isinstance(g_idx, torch.Tensor) and checks.has_data(g_idx) and g_idx.numel():
            checks.group_indices(g_idx, self.scales.shape[0])
        super()._load_from_state_dict(state_dict, prefix, *args)
