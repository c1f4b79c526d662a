"""Packed weights as buffers of a module: what the layers of both families share."""

import torch
from torch import nn

from . import checks


class PackedLinear(nn.Module):
    """Buffers qweight, qzeros, scales, g_idx and bias, which fit together.

    qweight [K // pack_factor, N] and qzeros [G, N // pack_factor] int32, scales [G, N], g_idx [K]
    int32 or None for groups of `groupsize` rows in order, bias [N] or None. g_idx is taken
    literally: all zeros is group 0 for every row. A `groupsize` of -1 is one group.
    """

    def __init__(self, qweight, qzeros, scales, g_idx, bias, bits, groupsize):
        super().__init__()
        if g_idx is None:
            g_idx = checks.sequential_g_idx(qweight, scales, bits, groupsize)
        K, N, G = checks.sizes_of_weights(qweight, qzeros, scales, g_idx, bits)
        checks.require_bias(bias, N, qweight.device)
        g_idx = g_idx.detach()
        if checks.has_data(g_idx):
            checks.require_group_indices(g_idx, G)
        self.bits = bits
        self.groupsize = checks.rows_per_group(groupsize, K)
        self.infeatures = K
        self.outfeatures = N
        self.register_buffer("qweight", qweight.detach())
        self.register_buffer("qzeros", qzeros.detach())
        self.register_buffer("scales", scales.detach())
        self.register_buffer("g_idx", g_idx)
        self.register_buffer("bias", None if bias is None else bias.detach())

    def extra_repr(self):
        return (
            f"infeatures={self.infeatures}, outfeatures={self.outfeatures}, bits={self.bits}, "
            f"groupsize={self.groupsize}, bias={self.bias is not None}"
        )

    def _load_from_state_dict(self, state_dict, prefix, *args):
        """Refuse a g_idx that points outside the groups before anything is copied."""
        g_idx = state_dict.get(prefix + "g_idx")
        if isinstance(g_idx, torch.Tensor) and checks.has_data(g_idx) and g_idx.numel():
            checks.require_group_indices(g_idx, self.scales.shape[0])
        super()._load_from_state_dict(state_dict, prefix, *args)
