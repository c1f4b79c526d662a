"""How many rows of K in a row have one group: a kernel reads their scales and zero-points once."""

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from . import checks

RUNS = (128, 32)  # each is worth a binary of its own
_known = WeakTensorKeyDictionary()  # g_idx -> (its state, its run)


def run_of(g_idx):
    """The first of RUNS such that K is a multiple of it, and each so many rows of g_idx [K], from a
    multiple of it on, have one group; 1 where there is none, or it cannot be kept.

    The first call for a g_idx waits for the device. It is kept as `require_group_indices` keeps its
    verdict.
    """
    if g_idx.is_inference() or not checks.has_data(g_idx):  # writes to these are not counted
        return 1
    state = checks.state_of(g_idx)
    known = _known.get(g_idx)
    if known is None or known[0] != state:
        if checks.is_capturing(g_idx.device):
            return 1
        known = _known[g_idx] = state, _read(g_idx)
    return known[1]


def _read(g_idx):
    for run in RUNS:
        if len(g_idx) % run == 0:
            rows = g_idx.reshape(-1, run)
            if torch.equal(rows, rows[:, :1].expand_as(rows)):
                return run
    return 1
