"""How many rows of K in a row have one group: a kernel reads their scales and zero-points once."""

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from . import checks

RUNS = (128, 32)  # each is worth a binary of its own
_known = WeakTensorKeyDictionary()  # g_idx -> (its state, its run)


def run_of(g_idx):
    """The first of RUNS such that K is a multiple of it, and each so many rows of g_idx [K], from a
    multiple of it on, have one group; 1 where there is none, or it cannot be `remembered`.

    The first call for a g_idx waits for the device.
    """
    return checks.remembered(_known, g_idx, lambda: _read(g_idx)) or 1


def _read(g_idx):
    for run in RUNS:
        if len(g_idx) % run == 0:
            rows = g_idx.reshape(-1, run)
            if torch.equal(rows, rows[:, :1].expand_as(rows)):
                return run
    return 1
