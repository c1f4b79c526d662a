"""Packed weights as buffers of a module: what the layers of both families share."""

import torch
from torch import nn

from . import checks

BUFFERS = ("qweight", "qzeros", "scales", "g_idx", "bias")


class PackedLinear(nn.Module):
    """Buffers qweight, qzeros, scales, g_idx and bias, which fit together.

    qweight [K // pack_factor, N] and qzeros [G, N // pack_factor] int32, scales [G, N], g_idx [K]
    int32 or None for groups of `groupsize` rows in order, bias [N] or None. g_idx is taken
    literally: all zeros is group 0 for every row. A `groupsize` of -1 is one group.
    """

    SCALES = checks.FLOATS  # dtypes of them

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
        """Take a checkpoint's tensors or, where one of them is refused, none.

        What is refused is reported by its key in the error that torch raises at the end, behind
        missing and unexpected keys. What is missing stays as it is.
        """
        # As the last hook, since others may rename keys.
        judge = self._register_load_state_dict_pre_hook(self._refuse_state)
        try:
            super()._load_from_state_dict(state_dict, prefix, *args)
        finally:
            judge.remove()

    def _refuse_state(self, state_dict, prefix, local_metadata, *others):
        """Where one tensor is refused, torch is given the layer's own in place of the others."""
        own = {name: getattr(self, name) for name in BUFFERS if prefix + name in state_dict}
        own = {prefix + name: buffer for name, buffer in own.items() if buffer is not None}
        # What torch itself reports, and goes on with the rest.
        unfit = {key for key, buffer in own.items() if not _fits(state_dict[key], buffer)}
        problems = []
        for key in [key for key in own if key not in unfit]:
            try:
                self._require_loadable(key, state_dict[key], own[key], local_metadata)
            except (TypeError, ValueError) as problem:
                problems.append(str(problem))
        *_, errors = others
        errors.extend(problems)
        if unfit or problems:
            state_dict.update((key, own[key]) for key in own.keys() - unfit)

    def _require_loadable(self, key, tensor, buffer, local_metadata):
        """`tensor` has the buffer's shape and is to become its values, or itself the buffer."""
        name = key.rpartition(".")[2]
        assign = local_metadata.get("assign_to_params_buffers", False)
        dtypes = {"scales": self.SCALES if assign else checks.REALS, "bias": checks.REALS}
        checks.require_tensor(key, tensor, None, dtypes.get(name, (torch.int32,)))
        if not (checks.has_data(tensor) and (assign or checks.has_data(buffer))):
            return
        if name == "g_idx":
            checks.require_group_indices(tensor, self.scales.shape[0], key)
        elif name in dtypes and not assign:
            checks.require_castable(key, tensor, buffer.dtype, to_zero=name == "bias")


def _fits(tensor, buffer):
    """Whether torch would take it."""
    if not isinstance(tensor, torch.Tensor) or tensor.shape != buffer.shape:
        return False
    return buffer.is_meta or not tensor.is_meta
