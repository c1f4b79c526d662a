"""Sizes: what the sweep holds, what a slow kernel is asked, panels, rows that lie far apart."""

import subprocess
import sys
import time
from collections import Counter
from itertools import combinations, product
from types import SimpleNamespace

import pytest
import torch

from gptq_fuzz._checkout import ROOT
from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.axes import FAR
from gptq_fuzz.case.backend import PLAIN_LIMITS, Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.oracle import panel, screen
from gptq_fuzz.oracle.examination import Request
from gptq_fuzz.oracle.panel import COLUMNS, bytes_needed, is_large, panel_words
from gptq_fuzz.oracle.relations import BATCHES
from gptq_fuzz.oracle.screen import Screen
from gptq_fuzz.plugin.report import _series_in_words
from gptq_fuzz.problem import layouts
from gptq_fuzz.problem.layouts import CannotReserve, GuardedFar, GuardedRows, Placement
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.reference.matmul import dequantize
from gptq_fuzz.search import sweep as under_test
from gptq_fuzz.search.coverage import Coverage
from gptq_fuzz.search.crossings import (
    DEAREST,
    SECONDS,
    always_asked,
    batch_cases,
    crossing_cases,
    edge_cases,
    must_pass_crossings,
)
from gptq_fuzz.search.dispatch import dispatch_cases
from gptq_fuzz.search.gradients import gradient_cases
from gptq_fuzz.search.layers import ROWS, layer_cases
from gptq_fuzz.search.many_codes import many_code_cases
from gptq_fuzz.search.models import NAMES
from gptq_fuzz.search.offsets import offset_cases
from gptq_fuzz.search.series import must_pass_series
from gptq_fuzz.search.sweep import DIMENSIONS, sweep
from tests.suite.helpers import LIMITS, examination

pytestmark = pytest.mark.turns(2)

PLAIN = {name: sweep(name, PLAIN_LIMITS) for name in DIMENSIONS}


class Pretended:
    """A kernel under test that needs `seconds` a tile of 64 rows, by a clock of its own."""

    spec, tallies = "pretended", {}

    def __init__(self, monkeypatch, seconds, limits=PLAIN_LIMITS, skips=lambda case: False):
        self.limits, self.seconds, self.skips = limits, seconds, skips
        self.coverage, self.asked, self.tallies, self.now = Coverage(), [], {}, 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def judge(self, case, checks):
        assert checks == ()
        self.asked.append(case)
        self.now += self.seconds * self.limits.tiles(case.m, case.n, case.k)
        return Verdict(kinds.SKIPPED if self.skips(case) else kinds.PASS, case, "code")


def sizes(name, axis, bits=None):
    return {getattr(c, axis) for c in PLAIN[name] if bits in (None, c.bits)}


def test_every_row_count_is_there():
    found = sizes("M", "m")
    assert found >= set(range(321)) | {511, 513, 1024, 4097, 32767, 65535, 65536, 65537}


@pytest.mark.parametrize("axis", ["n", "k"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_every_tail_is_there_before_and_behind_whole_tiles(axis, bits):
    word = 32 // bits
    assert sizes(axis.upper(), axis, bits) >= set(range(word, 513, word))
    beside_tiles = {getattr(c, axis) for c in PLAIN[axis.upper()] if c.m >= 64 and c.bits == bits}
    assert beside_tiles >= set(range(word, 513, word))
    layers = {shape[axis == "n"] for shape in NAMES}
    assert sizes(axis.upper(), axis) >= {2048, 4100, 8188, 11008, 14340, *layers}


def test_every_number_of_groups_is_there_and_groups_of_any_size():
    in_order = [case for case in PLAIN["groups"] if case.k % case.group_size == 0]
    assert {-(-case.k // case.group_size) for case in in_order} >= set(range(1, 301))
    shuffled = {case.group_size for case in PLAIN["groups"] if case.g_idx == "act"}
    assert shuffled >= {2**i for i in range(17)}


CROSSED = {  # what meets -> which cases of the plain limits, with a bias, have it
    "few rows, long K, many columns, a bias": lambda c: c.m <= 16 and c.bias and c.n >= 1024 <= c.k,
    "a decoding batch, long K, some columns": lambda c: (
        17 <= c.m <= 128 and c.n >= 256 and c.k > 4000
    ),
    "large groups, long K, in order": lambda c: c.group_size * c.k >= 2**24 and c.g_idx == "seq",
    "a rest behind 1024 rows": lambda c: c.m > 1024,
    "more than 2^25 weights": lambda c: c.k * c.n > 2**25,
}


@pytest.mark.parametrize("what", CROSSED)
def test_large_sizes_meet_soon(what):
    found = crossing_cases(Limits(bias=True))
    first = next(place for place, case in enumerate(found) if CROSSED[what](case))
    assert first < len(always_asked(Limits(bias=True))) + 3  # one of each dear kind behind them


def test_products_of_powers_of_two_wrap_and_rows_between_a_tile_and_a_prefill_show_roundings():
    found = always_asked(PLAIN_LIMITS)
    wrapped = [case for case in found if case.m * case.n * case.k in (2**31, 2**32)]
    assert {case.m * case.n * case.k for case in wrapped} == {2**31, 2**32}
    assert {(case.bits, case.group_size) for case in wrapped} == {(4, 128)}
    assert {case.fill for case in wrapped} <= {"exact", "varied"}
    assert any(is_large(case) and case.k == 4096 for case in wrapped)
    shown = [
        case for case in found if case.fill in ("randn", "onehot") and case.k >= 2048 <= case.n
    ]
    classes = (range(17, 33), range(33, 65), range(65, 128), range(257, 258))
    assert [sum(case.m in rows for case in shown) for rows in classes] == [1, 1, 1, 1]


def test_each_remainder_comes_behind_whole_blocks_and_each_width_is_more_than_a_scratch():
    found = crossing_cases(PLAIN_LIMITS)
    assert {case.m - 1024 for case in found} >= set(range(1, 65))
    assert {case.m - 2304 for case in found} >= set(range(1, 65))
    assert {case.bits for case in found if case.k * case.n > 2**25} == {8, 4, 2}
    assert {case.bits for case in found if case.k * case.n > 2**26} == {8, 4}
    assert {case.group_size for case in found if case.k > 12000 and case.n < 17} >= {512, 8192}


LEVELS = {  # what calls of large layers differ in, as four values each
    "shape": lambda case: case.n,
    "bits": lambda case: case.bits,
    "group": lambda case: case.group_size,
    "order": lambda case: case.g_idx,
    "zeros": lambda case: case.zeros,
    "rows": lambda case: sum(case.m > most for most in (16, 64, 128)),
    "call": lambda case: (case.dtype, case.bias, case.fill),
}
ALIKE = {"zeros", "rows", "call"}  # the three of which only two come together


def test_large_layers_are_an_array_of_what_dispatchers_branch_by():
    found = dispatch_cases(TORCH.limits)
    for wanted in combinations(LEVELS, 3):
        met = {tuple(LEVELS[name](case) for name in wanted) for case in found}
        of_a_layer = len({"rows", "call"} - {*wanted}) == 2
        assert len(met) == (4**2 if of_a_layer or {*wanted} == ALIKE else 4**3), wanted


def test_another_seed_begins_with_another_layer_and_has_other_rows():
    one, other = (dispatch_cases(TORCH.limits, seed) for seed in (1, 2))
    assert (one[0].n, one[0].bits, one[0].g_idx) != (other[0].n, other[0].bits, other[0].g_idx)
    assert one[0].m != other[0].m
    assert set(one) != set(other)


def test_small_groups_meet_every_rest_of_many_columns():
    found = [
        c
        for c in crossing_cases(PLAIN_LIMITS)
        if 512 < c.n < 1024 and (c.k, c.g_idx) == (256, "seq")
    ]
    met = {(case.bits, case.group_size, case.n % 256) for case in found}
    assert met == set(product((8, 4, 2), (16, 32, 64, 128), (32, 64, 128, 192)))
    assert max(case.m for case in found) == 2


@pytest.mark.parametrize(("width", "rows"), [*product((64, 128), (64, 128))])
def test_a_reciprocal_of_the_tiles_is_short(width, rows):
    """Of float32, which is so of 41, 47, 55, ... tiles."""
    met = [c for c in crossing_cases(PLAIN_LIMITS) if c.m == rows + 1 and c.n % width == 0]
    tiles = {torch.tensor(case.n // width, dtype=torch.float32) for case in met if case.n > 2000}
    assert any(int(count * (1 / count)) == 0 for count in tiles)


def test_a_large_layer_is_asked_in_each_width_and_order_with_batches_of_every_size():
    found = batch_cases(PLAIN_LIMITS)
    assert {(c.bits, c.g_idx) for c in found} == set(product((8, 4, 2), ("seq", "act")))
    assert all(case.k >= 2048 and case.n >= 1024 for case in found)
    least = (2, 9, 17, 33, 49, 65, 129)
    assert {sum(m >= first for first in least) for m in (1, *BATCHES, found[0].m)} == set(range(8))
    assert not batch_cases(Limits(ranks=(1,)))


@pytest.mark.parametrize("bits", [4, 8])
def test_the_commonest_checkpoint_meets_each_bucket_of_rows(bits):
    chosen = [
        (case.m, case.n % 256, case.k % 256)
        for case in always_asked(PLAIN_LIMITS)
        if (case.bits, case.group_size, case.g_idx, case.zeros) == (bits, 128, "seq", "zsym")
    ]
    assert {n or k for _, n, k in chosen} == {0}
    assert {m.bit_length() for m, _, _ in chosen} >= {1, 5, 6, 7, 8, 9, 11, 12}


@pytest.mark.parametrize("power", range(20, 26))
def test_results_fill_a_workspace_more_than_once_and_the_last_time_in_part(power):
    held = 2**power
    found = [case for case in always_asked(PLAIN_LIMITS) if case.m * case.n > held]
    assert any(case.m % (held // case.n) for case in found)
    assert any(case.n % (held // case.m) for case in found)
    of_x = [case for case in always_asked(PLAIN_LIMITS) if case.m * case.k > held]
    assert power > 22 or any(case.m % (held // case.k) for case in of_x)


def test_shuffled_small_groups_meet_a_layer_that_is_large_in_every_size():
    found = [c for c in always_asked(PLAIN_LIMITS) if c.m > 128 and min(c.n, c.k) >= 2048]
    assert {(c.group_size, c.g_idx) for c in found} >= {(16, "act"), (32, "mix")}


def test_one_infinity_of_x_alone_stands_early_in_a_long_sum():
    lines = [case for case in always_asked(PLAIN_LIMITS) if case.fill == "nonfinite"]
    found = [Operands(case, "cpu").values for case in lines if case.k > 8192]
    rows = [left for values in found if values.scales.isfinite().all() for left in values.left]
    infinite = [row for row in rows if row.isinf().any() and not row.isnan().any()]
    assert any(row.isinf().nonzero().min() < 4096 for row in infinite)


def test_a_gradient_is_asked_for_the_sizes_of_a_product_that_change_places():
    found = gradient_cases(Limits(backward=True))
    assert all(case.backward for case in found)
    assert {case.n for case in found} >= {4100, 8196, 11008, 11012, 16388}
    assert {case.k for case in found} >= {4100, 8196, 11008, 11012, 16388}
    assert {case.n % 256 for case in found} == {case.k % 256 for case in found}
    assert {case.fill for case in found} >= {"exact", "randn", "cancel", "wide"}
    assert not gradient_cases(PLAIN_LIMITS)


def test_what_crosses_is_asked_in_order_before_anything_is_left_out(monkeypatch):
    kernel = Pretended(monkeypatch, 0.002)
    kernel.is_slow = False
    must_pass_crossings(kernel, seed=1)
    asked = min(len(kernel.asked), 70)
    assert kernel.asked[:asked] == crossing_cases(PLAIN_LIMITS, 1)[:asked]
    assert kernel.now < (1 + DEAREST) * SECONDS


def test_where_memory_ends_long_sizes_are_asked_that_cost_no_more_than_drawn_ones():
    found = edge_cases(PLAIN_LIMITS)
    assert {max(case.m, case.n, case.k) for case in found} >= {64, 512, 4096, 8192}
    assert {case.m for case in found if case.k >= 4096} >= {1, 16, 17}
    assert all(PLAIN_LIMITS.affords(c.m, c.n, c.k, c.unit) for c in found)


def test_fills_that_show_roundings_meet_a_prefill():
    found = [c for c in PLAIN["roundings"] if c.m >= 128 and c.n >= 1024 and c.k >= 2048]
    assert {case.fill for case in found} == {"randn", "lanes", "onehot", "wide", "cancel"}
    assert {case.m for case in found} == {128, 129, 256}


@pytest.mark.parametrize("count", [2**15, 2**16, 2**17])
def test_scales_and_words_of_zero_points_are_more_than_16_bits_count(count):
    told = [case for case in PLAIN["groups"] if (case.zeros, case.g_idx) == ("zall", "seq")]
    many = [(case.bits, case.groups * case.n) for case in told if case.n > 256]
    assert any(count < scales < 1.1 * count for _, scales in many)
    by_bits = {bits for bits, scales in many if count < scales * bits // 32 < 1.1 * count}
    assert by_bits == {bits for bits in (2, 4, 8) if count * 32 // bits <= 2**20}


def test_more_tiles_than_cores_meet_a_long_k_among_the_first():
    found = [c for c in PLAIN["tails"][:20] if -(-c.m // 64) * -(-c.n // 64) > 132]
    assert {-(-case.k // 256) % 2 for case in found} == {0, 1}
    assert all(case.k % 256 for case in found)


@pytest.mark.parametrize("name", [*DIMENSIONS, "layers", "offsets"])
def test_a_bias_takes_turns_and_goes_together_with_no_other_axis(name):
    limits = Limits(dtypes=("f16", "bf16"), formats=("v1", "v2"), bias=True)
    lists = {"layers": layer_cases, "offsets": offset_cases}
    found = lists[name](limits) if name in lists else sweep(name, limits)
    assert {bool(case.bias) for case in found} == {False, True}
    if len(found) > 100:
        met = Counter((case.bias, case.dtype, case.checkpoint_format) for case in found)
        assert len(met) == 12
        assert max(met.values()) < len(found) / 4


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_all_cases_lie_within_the_limits_and_all_values_take_turns(limits):
    found = [case for name in DIMENSIONS for case in sweep(name, limits, seed=1)]
    found += layer_cases(limits) + offset_cases(limits)
    found += crossing_cases(limits) + edge_cases(limits) + batch_cases(limits)
    found += gradient_cases(limits) + dispatch_cases(limits)
    assert not [case for case in found if limits.violations(case)]
    required = {token.name for token in limits.tokens if not token.optional}
    assert {name for case in found for name, _ in case.extra} == required
    for axis, values in (("bits", limits.bits), ("dtype", limits.dtypes), ("g_idx", limits.g_idx)):
        assert {getattr(case, axis) for case in found} == set(values)


def test_a_fast_kernel_is_asked_everything_in_order(monkeypatch):
    kernel = Pretended(monkeypatch, 1e-6)
    must_pass_series(kernel, "M", PLAIN["M"], 4.0, seed=1)
    assert kernel.asked == PLAIN["M"]
    assert _series_in_words({"M": kernel.tallies["M"].to_json()}) == ["judged M 685 of 685"]


def test_a_slow_kernel_is_asked_for_so_long_and_others_in_the_next_run(monkeypatch):
    asked = []
    for seed in (1, 2):
        kernel = Pretended(monkeypatch, 0.05)
        must_pass_series(kernel, "M", PLAIN["M"], 4.0, seed)
        tally = kernel.tallies["M"]
        assert 30 < tally.judged == len(kernel.asked) < 90
        assert tally.left_out == {"no time": 685 - tally.judged}
        assert 3.9 < kernel.now < 5.1  # one case above `max_tiles` may take a quarter
        asked.append(set(kernel.asked))
    assert len(asked[0] & asked[1]) < 40


def test_what_a_machine_cannot_judge_is_asked_with_the_simplest_dtypes(monkeypatch):
    limits = Limits(dtypes=("f16", "bf16"))
    kernel = Pretended(monkeypatch, 1e-6, limits, lambda case: case.dtype == "bf16" or case.m == 7)
    cases = sweep("M", limits)
    must_pass_series(kernel, "M", cases, 4.0, seed=1)
    unjudged = sum(case.m == 7 for case in cases)
    assert kernel.tallies["M"].judged == len(cases) - unjudged
    assert kernel.tallies["M"].left_out == {"code": unjudged}


def test_every_layer_comes_with_every_number_of_rows():
    found = layer_cases(PLAIN_LIMITS)
    assert {(c.k, c.n, c.m) for c in found} == {(*shape, m) for shape in NAMES for m in ROWS}
    assert {(c.k, c.n) for c in found[: len(NAMES)]} == set(NAMES)  # each once, then once more


def test_what_is_left_out_is_named(monkeypatch):
    kernel = Pretended(monkeypatch, 0.001)
    names = {"label": lambda case: NAMES[case.k, case.n], "excuse": lambda c: "big" * (c.m > 1)}
    must_pass_series(kernel, "layers", layer_cases(PLAIN_LIMITS), 4.0, 1, **names)
    counts, unseen = _series_in_words({"layers": kernel.tallies["layers"].to_json()})
    big = len(NAMES) * (len(ROWS) - 1)
    assert f"of {big + len(NAMES)} (big {big}, no time " in counts
    assert unseen.startswith("layers not judged: ")
    assert unseen.endswith(" more")


def test_codes_of_each_number_of_bits_fill_more_words_than_31_bits_number_bits_of():
    *found, results = many_code_cases(PLAIN_LIMITS)
    assert {case.bits for case in found} == set(PLAIN_LIMITS.bits)
    assert all(case.k * case.n * case.bits > 2**31 for case in found)
    assert results.m * results.n > 2**29
    least, *_ = needed = [bytes_needed(case) for case in found]
    assert 5 * 2**30 < least == min(needed) < 6 * 2**30


def test_no_more_memory_is_held_than_is_said():
    """Asked of a process that judges one large layer, whose kernel holds next to nothing."""
    judge = """
import resource, sys
from gptq_fuzz.case.backend import from_callable
from gptq_fuzz.case.case import Case
from gptq_fuzz.oracle.examination import Examination, Request
from gptq_fuzz.oracle.panel import bytes_needed
def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
backend = from_callable(lambda x, qweight, **_: x.new_zeros(len(x), qweight.shape[1]), "zeros")
for line in sys.argv[1:]:
    before, case = peak(), Case.parse(line)
    kind = Examination(backend, case, "cpu", Request(())).verdict().kind
    print(kind, (peak() - before) / bytes_needed(case))
"""
    lines = ["m1-n8-k64-b8-gall", "m1-n4096-k4096-b8-g128-act", "m4-n8192-k8192-b4-g64-wide"]
    done = subprocess.run(
        [sys.executable, "-c", judge, *lines], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    *_, large = [line.split() for line in done.stdout.splitlines()]
    assert large[0] == kinds.WRONG
    assert 0.4 < float(large[1]) < 1.0


def test_a_panel_holds_the_ends_and_follows_from_the_case():
    case = Case(m=1, n=11008, k=4096, bits=4)
    words = panel_words(case)
    assert torch.equal(words, panel_words(case))
    assert not torch.equal(words, panel_words(case.replace(seed=1)))
    assert len(words) * 8 == COLUMNS
    assert {0, 11008 // 8 - 1} < set(words.tolist())
    assert any(word * 8 % 256 == 0 and word - 1 in words for word in words[1:])


@pytest.fixture
def large(monkeypatch):
    """The examination of a problem that is judged at a panel, with every check."""
    monkeypatch.setattr(panel, "WHOLE", 2**14)
    return examination(TORCH, "m3-n1024-k64-b4-g32-act", Request("all"))


def test_a_panel_is_judged_in_every_check(large):
    assert large.verdict().kind == kinds.PASS
    found = large.expected.check(large.call(large.operands))
    assert f"{COLUMNS} were judged" in found.note


def test_a_wrong_column_of_a_panel_is_named_by_its_place(large):
    right = large.call
    large.call = lambda operands: right(operands).index_fill_(1, torch.tensor([1023]), 1000.0)
    verdict = large.verdict()
    assert verdict.kind == kinds.WRONG
    assert ", 1023] = 1000" in verdict.message
    assert "of 1024 columns 256 were judged" in verdict.message
    assert "column 1023 only" in verdict.where


@pytest.mark.parametrize("value", [1000.0, torch.nan, torch.inf])
def test_a_wrong_column_beside_a_panel_is_found_by_the_screen(large, value):
    right, unit = large.call, large.case.unit
    words = {*range(1024 // unit)} - {*panel_words(large.case).tolist()}
    column = max(words) * unit + 1
    large.call = lambda operands: right(operands).index_fill_(1, torch.tensor([column]), value)
    verdict = large.verdict()
    assert verdict.kind == kinds.WRONG
    assert "of 1024 columns 264 were judged" in verdict.message
    assert f"column {column} of 1024" in verdict.where


def test_a_screen_looks_at_every_few_rows_of_what_is_larger(monkeypatch):
    monkeypatch.setattr(screen, "RESULTS", 2**10)
    case = Case.parse("m8-n256-k64-b4-g32")
    operands = Operands(case, "cpu")
    layer = operands.originals()
    layer.pop("bias")
    due = operands.values.left @ dequantize(**layer)
    looked_at = Screen(operands.product, case.unit)
    for row, found in ((2, [31]), (3, [])):  # every other one
        wrong = due.clone()
        wrong[row, 255] += 1
        assert looked_at.furthest(wrong.half(), slice(None), 0, 4) == found
        assert looked_at.furthest(wrong[1:].half(), slice(1, None), 0, 4) == found


def far_apart():
    values = torch.arange(12, dtype=torch.float16).view(3, 4)
    return values, GuardedRows(values, Placement(2**32), "cpu")


def test_rows_far_apart_are_only_reserved():
    values, guarded = far_apart()
    assert guarded.storage.nbytes > 2**33
    assert torch.equal(guarded.view, values)
    assert guarded.view.stride() == (2**32, 1)
    assert guarded.is_untouched()


def test_each_of_the_rows_far_apart_has_its_red_zones():
    _, guarded = far_apart()
    guarded.view[1] = 0
    assert not guarded.is_untouched()
    assert guarded.is_inside()
    guarded.view.as_strided((1,), (1,), guarded.view.storage_offset() + 2 * 2**32 + 4).fill_(1)
    assert not guarded.is_inside()


def far_into_its_storage():
    values = torch.arange(12, dtype=torch.int32).view(3, 4)
    return values, GuardedFar(values, Placement(4, offset=2**31), "cpu")


def test_what_lies_before_an_operand_is_only_reserved():
    values, guarded = far_into_its_storage()
    assert guarded.view.storage_offset() * 4 > 2**33
    assert guarded.storage.nbytes > 2**33 > guarded.view.untyped_storage().nbytes() // 2
    assert torch.equal(guarded.view, values)
    assert guarded.is_untouched()
    guarded.view.as_strided((1,), (1,), guarded.view.storage_offset() + 12).fill_(1)
    assert not guarded.is_inside()


def test_every_operand_begins_far_into_its_storage_in_one_case():
    found = offset_cases(PLAIN_LIMITS)
    (weights,) = [case for case in found if case.start == FAR]
    for name, guarded in Operands(weights, "cpu").guarded.items():
        assert (guarded.storage.nbytes > 2**33) == (name != "left")
    x = Operands(next(case for case in found if case.layout == f"off{2**32}"), "cpu")
    assert x.left.storage_offset() > 2**32
    assert FAR not in PLAIN_LIMITS.for_draws().starts
    assert not any(case.start for case in offset_cases(Limits(starts=(0,))))


def test_what_cannot_be_reserved_is_skipped(monkeypatch):
    def refuse(*_size, **_options):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(layouts.torch, "empty", refuse)
    with pytest.raises(CannotReserve):
        far_apart()
    verdict = examination(TORCH, "m2-n4-k4-b8-gall-pad4294967296").verdict()
    assert verdict.kind == kinds.SKIPPED
    assert verdict.message.startswith("cannot_reserve_8589")


def test_of_half_the_time_each_dimension_has_half(monkeypatch):
    seconds = []
    monkeypatch.setattr(under_test, "must_pass_series", lambda *given: seconds.append(given[3]))
    kernel = SimpleNamespace(limits=PLAIN_LIMITS, tallies={}, is_slow=False)
    for share in (1.0, 0.5):
        under_test.must_pass_sweep(kernel, "M", 0, share)
    assert seconds[1] == seconds[0] / 2 > 0
