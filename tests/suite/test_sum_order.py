"""The order of a sum is read off its meeting sizes, whatever tree of partial sums gave them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptq_fuzz.fingerprint.sum_order import (
    VARIES,
    NoTree,
    between,
    block_lengths,
    dealt_blocks,
    is_at_once,
    is_partition,
    is_sequential,
    meeting_sizes,
)


def leaves_of(tree):
    return [tree] if isinstance(tree, int) else [leaf for part in tree for leaf in leaves_of(part)]


def sizes_of(tree, count):
    """What each pair of leaves would be measured as; a tree is a leaf or a list of trees."""
    sizes = torch.ones(count, count, dtype=torch.int64)

    def fill(node):
        if isinstance(node, int):
            return
        whole = leaves_of(node)
        for part in node:
            inside = leaves_of(part)
            for leaf in inside:
                sizes[leaf, [other for other in whole if other not in inside]] = len(whole)
            fill(part)

    fill(tree)
    return sizes


def measured(sizes):
    """meeting_sizes from a matrix, and how many pairs it asked for."""
    asked = []

    def measure(pairs):
        asked.extend(pairs)
        return [int(sizes[pair]) for pair in pairs]

    return meeting_sizes(len(sizes), measure), len(asked)


def chain(parts):
    tree = parts[0]
    for part in parts[1:]:
        tree = [tree, part]
    return tree


def cut(items, length):
    return [items[start : start + length] for start in range(0, len(items), length)]


def in_blocks(count, length):
    return chain([chain(block) for block in cut(list(range(count)), length)])


def paired(parts):
    while len(parts) > 1:
        parts = [pair if len(pair) > 1 else pair[0] for pair in cut(parts, 2)]
    return parts[0]


def fused(count, side):
    """A tensor core: the sum so far and `side` products in one step."""
    tree = list(range(side))
    for block in cut(list(range(side, count)), side):
        tree = [tree, *block]
    return tree


def dealt(count, length, parts):
    blocks = cut(list(range(count)), length)
    return chain([chain([k for b in blocks[n::parts] for k in b]) for n in range(parts)])


TREES = {
    "in order": chain(list(range(64))),
    "backwards": chain(list(range(64))[::-1]),
    "at once": list(range(64)),
    "blocks of 16": in_blocks(64, 16),
    "blocks of 24": in_blocks(64, 24),
    "pairs": paired(list(range(64))),
    "blocks of 8 in pairs": paired([chain(block) for block in cut(list(range(64)), 8)]),
    "a tensor core of 8": fused(64, 8),
    "4 lanes": dealt(64, 1, 4),
    "blocks of 8 dealt to 3": dealt(64, 8, 3),
}
SLOW = ("backwards", "at once", "a tensor core of 8")  # nearly every pair is asked for
TREE = st.recursive(
    st.just(0), lambda parts: st.lists(parts, min_size=2, max_size=4), max_leaves=24
)


def numbered(tree, order):
    """The same tree with the leaves taken from `order`."""
    return next(order) if tree == 0 else [numbered(part, order) for part in tree]


@pytest.mark.parametrize("name", TREES)
def test_the_sizes_of_a_tree_are_found_from_a_part_of_them(name):
    sizes = sizes_of(TREES[name], 64)
    found, asked = measured(sizes)
    assert torch.equal(found, sizes)
    assert name in SLOW or asked <= 3 * 64


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(TREE, st.randoms(use_true_random=False))
def test_any_tree_is_found(tree, random):
    count = len(leaves_of(tree))
    order = random.sample(range(count), count)
    sizes = sizes_of(numbered(tree, iter(order)), count)
    assert torch.equal(measured(sizes)[0], sizes)


LENGTHS = {
    "in order": [],
    "blocks of 16": [16],
    "blocks of 24": [24],
    "blocks of 8 in pairs": [8, 16, 32],
    "a tensor core of 8": [8],
    "4 lanes": [],
}


@pytest.mark.parametrize("name", LENGTHS)
def test_blocks_are_named_by_their_length(name):
    found = block_lengths(sizes_of(TREES[name], 64), range(64))
    assert [alike for alike in found if len(alike) == 1] == [[size] for size in LENGTHS[name]]


def test_lengths_that_the_leaves_do_not_tell_apart_come_together():
    leaves = range(0, 64, 8)
    sizes = sizes_of(TREES["blocks of 24"], 64)[::8, ::8]
    assert [alike for alike in block_lengths(sizes, leaves) if 24 in alike] == [[21, 22, 23, 24]]


def test_dealt_blocks_are_named_by_length_and_number():
    lengths = (1, 2, 4, 8, 16)
    assert dealt_blocks(sizes_of(TREES["4 lanes"], 64), range(64), lengths) == (1, 4)
    assert dealt_blocks(sizes_of(TREES["blocks of 8 dealt to 3"], 64), range(64), lengths) == (8, 3)
    for name in ("in order", "blocks of 16", "a tensor core of 8", "pairs"):
        assert dealt_blocks(sizes_of(TREES[name], 64), range(64), lengths) is None


def test_plain_orders_are_recognised():
    plain = {name for name, tree in TREES.items() if is_sequential(sizes_of(tree, 64))}
    assert plain == {"in order", "backwards"}
    assert {name for name, tree in TREES.items() if is_at_once(sizes_of(tree, 64))} == {"at once"}


def test_a_cut_through_one_step_is_no_partition():
    sizes = sizes_of(TREES["a tensor core of 8"], 64)
    assert is_partition(sizes, [k // 8 for k in range(64)])
    assert not is_partition(sizes, [k // 4 for k in range(64)])
    assert not is_partition(sizes, [k // 12 for k in range(64)])


def test_sizes_of_no_tree_are_refused():
    sizes = sizes_of(TREES["in order"], 64)
    sizes[0, 5] = 9
    with pytest.raises(NoTree):
        measured(sizes)


def test_parts_joined_in_no_settled_order_are_told_apart():
    sizes = sizes_of(in_blocks(48, 16), 48)
    apart = torch.arange(48)[:, None] // 16 != torch.arange(48) // 16
    sizes[apart] = VARIES
    found, _ = measured(sizes)
    assert torch.equal(found, sizes)
    assert block_lengths(found, range(48)) == [[16], [32]]  # the last unit is the rest


def test_a_place_between_two_others_is_chosen_in_the_smallest_sum():
    assert between(sizes_of(TREES["in order"], 64), [10, 20, 30]) == (10, 20, 30)
    i, j, end = between(sizes_of(TREES["blocks of 16"], 64), [0, 16, 32])
    assert end == 32
    assert {i, j} == {0, 16}
