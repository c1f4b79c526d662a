"""The order of rows that g_idx asks for, and weights whose rows are sorted by it.

Both are kept for as long as the tensor that they come from lives and is not written to, as torch
counts writes. (Writes through `tensor.data` are not counted: assign the tensor anew instead.)
"""

from typing import NamedTuple

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from .. import checks, packing

_orders = WeakTensorKeyDictionary()  # g_idx -> (its state, RowOrder or None)
_sorted = WeakTensorKeyDictionary()  # qweight -> (its state, that of g_idx, bits; words)
SHORT = 2**15  # rows that 16 bits number: half as much to read for each row of x


class RowOrder(NamedTuple):
    """Each group has `rows_per_group` rows; `order` [K] sorts them, None: they are sorted."""

    rows_per_group: int
    order: torch.Tensor | None


def row_order(g_idx, G):
    """The RowOrder of g_idx [K], or None where groups differ in size or it cannot be kept.

    The first call for a g_idx waits for the device; the values must have been checked.
    """
    return checks.remembered(_orders, g_idx, lambda: _read(g_idx, G), G)


def sorted_words(qweight, g_idx, order, bits):
    """qweight [K // fields, N], its rows of codes in this order; None where it cannot be kept.

    Words written anew are sorted into the same memory, which CUDA graphs may have recorded.
    """
    if qweight.is_inference() or g_idx.is_inference():
        return None
    state = checks.state_of(qweight), checks.state_of(g_idx), bits
    known = _sorted.get(qweight)
    if known is None or known[0] != state:
        if checks.is_capturing(qweight.device):
            return None
        words = _gather(qweight, order, bits)
        if known is not None and known[1].shape == words.shape:
            words = known[1].copy_(words)
        known = _sorted[qweight] = (state, _finished(words))
    return known[1]


def _read(g_idx, G):
    K = len(g_idx)
    if K % G:
        return None
    rows_per_group = K // G
    expected = torch.arange(K, device=g_idx.device) // rows_per_group
    if torch.equal(g_idx.long(), expected):
        return RowOrder(rows_per_group, None)
    order = torch.sort(g_idx, stable=True).indices
    if not torch.equal(g_idx[order].long(), expected):
        return None
    order = order.to(torch.int16 if K <= SHORT else torch.int32)
    return RowOrder(rows_per_group, _finished(order))


def _finished(tensor):
    """The tensor, once the device has written it: the next call may be on another stream."""
    if tensor.is_cuda:
        torch.cuda.current_stream(tensor.device).synchronize()
    return tensor


def _gather(qweight, order, bits):
    pack_factor = checks.WORD_BITS // bits
    words = []
    for rows in order.long().split(packing.ROWS_AT_A_TIME):
        fields = qweight[rows // pack_factor] >> (rows % pack_factor * bits).int()[:, None]
        words.append(packing.pack_fields((fields & (2**bits - 1)).long(), bits))
    return torch.cat(words)
