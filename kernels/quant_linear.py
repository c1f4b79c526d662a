"""Linear layer over 2, 4 or 8-bit GPTQ weights."""

import torch

from . import checks, packing
from .operators import (
    matmul248,
    matmul_op,
    require_no_scale_gradient,
    transpose_matmul248,
    transpose_matmul_op,
)
from .packed_linear import PackedLinear
from .triton_matmul import matmul_248_kernel, transpose_matmul_248_kernel
from .uniform_groups.ready import ReadyProducts

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
        checks.require_maxq(maxq, bits)
        checks.require_tensors(x=input, qweight=qweight, scales=scales, qzeros=qzeros, g_idx=g_idx)
        require_no_scale_gradient(ctx)
        ctx.save_for_backward(qweight, scales, qzeros, g_idx)
        ctx.bits, ctx.input_dtype = bits, input.dtype
        input = checks.autocast(input)
        return matmul_op(input, qweight, scales, qzeros, g_idx, bits)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cuda")
    def backward(ctx, grad_output):
        grad_input = None
        if ctx.needs_input_grad[0]:
            grad_input = transpose_matmul_op(grad_output, *ctx.saved_tensors, ctx.bits)
            grad_input = grad_input.to(ctx.input_dtype)
        return grad_input, None, None, None, None, None, None


class QuantLinear(PackedLinear):
    """y = x W + bias for packed W of 2, 4 or 8 bits, from the operands of a `PackedLinear`."""

    def __init__(self, qweight, qzeros, scales, g_idx, bias, bits, groupsize):
        super().__init__(qweight, qzeros, scales, g_idx, bias, bits, groupsize)
        self.maxq = 2**bits - 1
        self._ready = None

    @classmethod
    def new(cls, bits, groupsize, infeatures, outfeatures, bias):
        """A layer of zeros, to be packed or loaded; float16 scales and bias."""
        checks.require_bits(bits)
        checks.require_whole_words("infeatures", infeatures, bits)
        checks.require_whole_words("outfeatures", outfeatures, bits)
        G = -(-infeatures // checks.rows_per_group(groupsize, infeatures))
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
        self._require_grid(scales, zeros)
        g_idx = self.g_idx if g_idx is None else g_idx
        checks.require_tensor("g_idx", g_idx, 1, (torch.int32,))
        if len(g_idx) != self.infeatures:
            raise ValueError(f"g_idx must have {self.infeatures} values, not {len(g_idx)}")
        checks.require_group_indices(g_idx, len(self.scales))
        checks.require_bias(linear.bias, self.outfeatures, weight.device)
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
        if torch.compiler.is_compiling():
            # Tracing the function would work, but warns; the operator has the same gradient.
            weights = (self.qweight, self.scales, self.qzeros, self.g_idx)
            out = matmul_op(checks.autocast(x), *weights, self.bits)
        else:
            out = self._ready and self._ready.product(x, self._buffers)
            if out is None:
                out = self._checked(x)
        return out if self.bias is None else out + self.bias.to(out.dtype)

    def _checked(self, x):
        """The product with every check, for what is new or wrong; the next one may be ready."""
        weights = {name: getattr(self, name) for name in ("qweight", "scales", "qzeros", "g_idx")}
        out = QuantLinearFunction.apply(x, *weights.values(), self.bits, self.maxq)
        counted = not any(tensor.is_inference() for tensor in weights.values())
        if type(x) is torch.Tensor and x.is_cuda and counted:  # writes to them
            if self._ready is None or not self._ready.is_of(weights):
                self._ready = ReadyProducts(weights)
            self._ready.prepare(x, self.bits)
        return out

    def _apply(self, fn, recurse=True):
        self._ready = None  # which would keep the old weights alive
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args):
        super()._load_from_state_dict(*args)
        self._ready = None

    def __getstate__(self):
        return self.__dict__ | {"_ready": None}  # a copy has its own

    @property
    def weight(self):
        """The packed words: int32 [infeatures * bits // 32, outfeatures], not the real weights."""
        return self.qweight

    def _require_grid(self, scales, zeros):
        wanted = (self.outfeatures, len(self.scales))
        checks.require_tensor("scales", scales, 2, checks.REALS)
        checks.require_tensor("zeros", zeros, 2, (*checks.REALS, *packing.INTEGERS))
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
        checks.require_tensor("weight", weight, None, checks.REALS)
        weight = weight.flatten(1)
        if tuple(weight.shape) != (self.outfeatures, self.infeatures):
            wanted = (self.outfeatures, self.infeatures)
            raise ValueError(f"the weight must have shape {wanted}, not {tuple(weight.shape)}")
        return weight
