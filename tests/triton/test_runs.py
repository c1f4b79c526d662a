"""Rows of K that have one group: found for each order, and again after each write."""

import pytest
import torch

from kernels import runs
from kernels.runs import run_of


def groups_of(*sizes):
    """Groups of these sizes, one after the other."""
    return torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes)).int()


@pytest.mark.parametrize(
    ("g_idx", "run"),
    [
        (groups_of(128, 128), 128),
        (groups_of(256), 128),
        (groups_of(128, 256), 128),  # of no one size
        (groups_of(256).flip(0), 128),
        (groups_of(128, 128).flip(0), 128),
        (groups_of(64, 64), 32),
        (groups_of(32, 96), 32),
        (groups_of(128, 32), 32),  # K is no multiple of 128
        (groups_of(16, 16), 1),
        (groups_of(100, 100), 1),
        (groups_of(128, 8), 1),
        (groups_of(128, 128)[torch.arange(256).view(2, 128).t().flatten()], 1),
    ],
    ids=lambda value: f"{len(value)} rows" if isinstance(value, torch.Tensor) else str(value),
)
def test_the_longest_run_that_all_rows_have(g_idx, run):
    assert run_of(g_idx) == run
    assert run_of(torch.stack((g_idx, g_idx), 1)[:, 0]) == run  # any stride


def test_a_write_is_seen():
    g_idx = groups_of(128, 128)
    assert run_of(g_idx) == 128
    g_idx[5] = 1
    assert run_of(g_idx) == 1
    g_idx[5] = 0
    assert run_of(g_idx) == 128


def test_values_are_read_once(monkeypatch):
    g_idx = groups_of(128)
    assert run_of(g_idx) == 128
    monkeypatch.setattr(runs, "_read", None)
    assert run_of(g_idx) == 128


def test_what_torch_does_not_count_writes_to_is_not_kept():
    with torch.inference_mode():
        g_idx = groups_of(128)
    assert run_of(g_idx) == 1
