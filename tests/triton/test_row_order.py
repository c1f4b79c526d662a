"""What is remembered of an order of rows, and of words that are sorted by it."""

import pytest
import torch

from kernels.uniform_groups import row_order


def shuffled(K, G, seed=1):
    """g_idx [K] of G groups of one size, in no order."""
    maker = torch.Generator().manual_seed(seed)
    return (torch.arange(K) % G)[torch.randperm(K, generator=maker)].int()


@pytest.mark.parametrize(
    ("K", "dtype"), [(64, torch.int16), (2**15, torch.int16), (2**15 + 32, torch.int32)]
)
def test_the_order_sorts_rows_and_keeps_those_of_a_group_as_they_were(K, dtype):
    """16 bits number 2**15 rows."""
    g_idx = shuffled(K, 2)
    found = row_order.row_order(g_idx, 2)
    assert found.rows_per_group == K // 2
    assert found.order.dtype == dtype
    assert torch.equal(found.order.long(), torch.sort(g_idx, stable=True).indices)


@pytest.mark.bug("GI-07 L-01")
@pytest.mark.parametrize(
    ("g_idx", "G"),
    [
        ([0, 0, 1, 1, 0, 1, 1, 2], 3),  # 8 rows are no three groups of one size
        ([0, 1, 1, 1, 0, 1, 1, 1], 2),
        ([0, 1, 2, 3, 4, 5, 6, 7], 16),  # groups without rows: more groups than rows
        ([0, 0, 0, 0, 2, 2, 2, 2], 3),
    ],
)
def test_groups_of_other_sizes_have_no_such_order(g_idx, G):
    assert row_order.row_order(torch.tensor(g_idx).int(), G) is None


def test_rows_that_are_sorted_need_no_order():
    assert row_order.row_order(torch.tensor([0, 0, 1, 1]).int(), 2) == (2, None)


@pytest.mark.bug("L-74")
def test_words_are_sorted_once_until_something_is_written(monkeypatch):
    """Or every call would pay for it, or none would see new weights."""
    made = []
    gather = row_order._gather
    monkeypatch.setattr(row_order, "_gather", lambda *given: made.append(0) or gather(*given))
    g_idx = shuffled(64, 2)
    qweight = torch.randint(-(2**31), 2**31, (8, 16)).int()
    order = row_order.row_order(g_idx, 2).order
    first = row_order.sorted_words(qweight, g_idx, order)
    assert row_order.sorted_words(qweight, g_idx, order) is first
    assert len(made) == 1
    qweight.neg_()
    row_order.sorted_words(qweight, g_idx, order)
    g_idx.copy_(g_idx.flip(0))
    row_order.sorted_words(qweight, g_idx, row_order.row_order(g_idx, 2).order)
    assert len(made) == 3
