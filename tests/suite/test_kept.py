"""What is kept with every call is found, however slowly it grows; what is bounded is left alone."""

import dataclasses
import gc
import itertools
import threading
import time
import weakref
from collections import deque
from types import SimpleNamespace

import pytest
import torch

from gptq_fuzz import Backend
from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.backend import PLAIN_LIMITS
from gptq_fuzz.case.case import Case
from gptq_fuzz.museum.catalogue import correct, faulty
from gptq_fuzz.oracle import examination as execute
from gptq_fuzz.oracle import held as asked_of_what_is_held
from gptq_fuzz.oracle import kept as under_test
from gptq_fuzz.oracle.enlarged import enlarged
from gptq_fuzz.oracle.examination import Examination, Request
from gptq_fuzz.oracle.kept import CALLS, ROUNDS_OF_ROWS, Asked, can_be_counted, kept
from gptq_fuzz.search.kept import kept_cases
from gptq_fuzz.worker.loader import load
from tests.suite.helpers import LIMITS, examination
from tests.turns import todays

pytestmark = [
    pytest.mark.skipif(not can_be_counted("cpu"), reason="no_mallinfo2"),
    pytest.mark.turns(4),
]
LINE = "m3-n8-k16-b4-g8"
OF_MORE_ROWS = {"orders_kept_by_their_numbers": "m1-n8-k64-b4-g8-act"}  # else LINE
LEAKING = [exhibit for exhibit in faulty() if exhibit.only == "memory"]
PATIENCE = 60.0


def keeping(bound, make):
    """Calls that keep the last `bound` of what they make."""
    held = deque(maxlen=bound)
    return lambda number: held.append(make(number))


MADE = {
    "a tensor of one element": lambda number: torch.zeros(1),
    "a large tensor": lambda number: torch.empty(2**18),
    "a tuple": lambda number: (number, number),
}


@pytest.mark.parametrize("made", MADE)
def test_what_is_kept_for_good_is_found(made):
    assert kept(Asked(keeping(None, MADE[made])), "cpu", PATIENCE)


@pytest.mark.parametrize("bound", [0, 1, 40, 300, 512, 2048])
def test_what_is_bounded_is_not(bound):
    assert kept(Asked(keeping(bound, MADE["a tensor of one element"])), "cpu", PATIENCE) is None


@pytest.mark.parametrize("bound", [64, 256, 1024])
def test_what_is_kept_for_each_number_of_rows_may_end_at_some_thousand(bound):
    asked = Asked(keeping(bound, MADE["a tensor of one element"]), ROUNDS_OF_ROWS)
    assert kept(asked, "cpu", PATIENCE) is None
    assert kept(dataclasses.replace(asked, call=keeping(None, torch.zeros)), "cpu", PATIENCE)


def test_products_that_onednn_keeps_are_no_leak():
    """Of float16, where a CPU multiplies it: 1,024 of them, for as many numbers of rows."""
    line = "m5-n8-k8-b8-g4-shard-zeq-bias"
    verdict = Examination(TORCH, Case.parse(line), "cpu", Request("all")).verdict()
    assert verdict.ok, verdict


def test_nothing_is_said_of_a_kernel_for_which_there_is_no_time():
    assert kept(Asked(keeping(None, MADE["a tuple"])), "cpu", 0.0) is None


def test_what_cannot_be_called_often_enough_is_not_called_for_all_the_time_there_is(monkeypatch):
    def slow(x, **layer):
        calls.append(time.sleep(0.02))
        return TORCH.matmul(x=x, **layer)

    def out_of_time(*_asked):
        raise AssertionError("asked although nothing can be said")

    calls: list[None] = []
    monkeypatch.setattr(execute, "kept", out_of_time)
    exam = examination(
        Backend("slow", TORCH.limits, matmul=slow), LINE, Request(("memory",), 2, 5.0)
    )
    assert exam.verdict().kind == kinds.PASS
    assert calls


def test_a_cache_that_is_not_full_when_time_ends_is_not_blamed(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(under_test, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    assert kept(Asked(keeping(3000, MADE["a tuple"])), "cpu", CALLS - 1) is None


def test_a_bounded_cache_that_meets_something_new_now_and_then_is_not_blamed():
    keep = keeping(1000, MADE["a large tensor"])
    assert kept(Asked(lambda number: number % 20 or keep(number)), "cpu", PATIENCE) is None


def test_nor_one_that_meets_it_at_first_with_each_call():
    keep = keeping(1000, MADE["a large tensor"])
    asked = Asked(lambda number: (number > 99 and number % 20) or keep(number))
    found = kept(asked, "cpu", PATIENCE)
    assert found is None


def test_what_else_is_freed_meanwhile_hides_nothing():
    others = [object() for _ in range(100)]

    def call(number):
        if number == CALLS // 2:
            others.clear()
        return (number,)

    assert kept(Asked(keeping(None, call)), "cpu", PATIENCE)


def test_what_a_thread_frees_later_is_not_kept(monkeypatch):
    held = []
    clock = {"monotonic": lambda: 0.0, "sleep": lambda seconds: held.clear()}
    monkeypatch.setattr(under_test, "time", SimpleNamespace(**clock))
    assert kept(Asked(lambda number: held.append((number,))), "cpu", PATIENCE) is None


@pytest.mark.parametrize(
    ("space_for", "is_blamed"),
    [
        (lambda rows: rows, True),
        (lambda rows: 2 * rows, True),
        (lambda rows: 1 << rows.bit_length(), False),
        (lambda rows: rows // 64, False),
        (lambda rows: min(rows, 1024), False),
    ],
)
def test_what_is_kept_for_each_number_of_rows_is_found(space_for, is_blamed):
    spaces = {}

    def prepare(**weights):
        return weights

    def run(state, *, x):
        rows = space_for(len(x))
        spaces.setdefault(rows, torch.empty(max(rows, len(x)), 8))
        return TORCH.matmul(x=x, **state)

    backend = Backend("keeps", TORCH.limits, TORCH.numerics, prepare=prepare, run=run)
    verdict = examination(backend, LINE, Request(("memory",))).verdict()
    assert (verdict.kind == kinds.LEAKING) == is_blamed
    assert not is_blamed or "with every new number of rows, 1408 of them" in verdict.message


@pytest.mark.parametrize(
    ("spaces_of", "is_blamed"),
    [
        (lambda spaces: spaces.setdefault(threading.get_native_id(), []), True),
        (lambda spaces: spaces.setdefault(threading.get_native_id() % 500, []), False),
        (lambda spaces: spaces.setdefault(0, threading.local()).__dict__.setdefault(0, []), False),
    ],
)
def test_what_is_kept_for_each_thread_is_found(spaces_of, is_blamed):
    spaces = {}

    def matmul(*, x, **weights):
        spaces_of(spaces)[:] = [torch.empty(len(x), 16)]
        return TORCH.matmul(x=x, **weights)

    backend = Backend("keeps", TORCH.limits, TORCH.numerics, matmul=matmul)
    verdict = examination(backend, LINE, Request(("memory",))).verdict()
    assert (verdict.kind == kinds.LEAKING) == is_blamed
    assert not is_blamed or "with every new thread, 1200 of them" in verdict.message


MODES = {
    "grad": lambda x: x.requires_grad,
    "infer": lambda x: x.is_inference(),
    "nograd": lambda x: not torch.is_grad_enabled() and not x.is_inference(),
    "autocast": lambda x: torch.is_autocast_enabled("cpu"),
}


@pytest.mark.parametrize("mode", [*MODES, "for a gradient"])
def test_what_is_kept_in_one_mode_alone_is_found(mode):
    held = []

    def matmul(*, x, **weights):
        if mode in MODES and MODES[mode](x):
            held.append(x.detach().clone())
        return TORCH.matmul(x=x, **weights)

    def gradient(*, grad, **weights):
        if mode not in MODES:
            held.append(grad.clone())
        return TORCH.gradient(grad=grad, **weights)

    backend = Backend("keeps", TORCH.limits, TORCH.numerics, matmul=matmul, gradient=gradient)
    verdict = examination(backend, LINE, Request(("memory",))).verdict()
    assert verdict.kind == kinds.LEAKING
    assert f"under {mode}, " in verdict.message or mode not in MODES


def test_what_is_kept_for_each_address_of_x_is_found():
    seen = {}

    def matmul(*, x, **weights):
        seen[x.data_ptr()] = [x.data_ptr()]
        return TORCH.matmul(x=x, **weights)

    backend = Backend("addresses", TORCH.limits, TORCH.numerics, matmul=matmul)
    for _ in range(2):
        verdict = examination(backend, LINE, Request(("memory",))).verdict()
        assert verdict.kind == kinds.LEAKING
        assert "with every x at another address" in verdict.message
        seen.clear()


def test_a_workspace_that_grows_to_the_most_rows_is_not_kept_for_each():
    spaces = [torch.empty(0)]

    def matmul(*, x, **weights):
        if len(spaces[0]) < len(x):
            spaces[0] = torch.empty(len(x), 8)
        return TORCH.matmul(x=x, **weights)

    backend = Backend("grows", TORCH.limits, TORCH.numerics, matmul=matmul)
    assert examination(backend, LINE, Request(("memory",))).verdict().kind == kinds.PASS


@pytest.mark.parametrize("exhibit", todays(correct(), 3), ids=lambda exhibit: exhibit.name)
def test_no_correct_kernel_is_said_to_keep_memory(exhibit):
    backend = load(exhibit.spec, ".")
    line = str(kept_cases(backend.limits)[-1])
    assert examination(backend, line, Request(("memory",))).verdict().kind == kinds.PASS


class Cycle:
    """Holds itself, and these tensors."""

    def __init__(self, *tensors):
        self.own, self.tensors = self, tensors


def refusal_kept(x):
    """An exception that its own frame holds, which holds x, and so do those of its callers."""
    try:
        raise ValueError(str(len(x)))
    except ValueError as problem:
        held = problem
        return held


IN_CYCLES = {  # what a call leaves -> whether it is blamed, where x has many rows
    "the weight": (lambda x, **layer: Cycle(_dequantize(layer)), True),
    "x": (lambda x, **layer: Cycle(x.clone()), True),
    "codes": (lambda x, **layer: Cycle(layer["qweight"].clone()), True),
    "an exception with its frames": (lambda x, **layer: refusal_kept(x), True),
    "objects of Python": (lambda x, **layer: Cycle([str(number) for number in range(99)]), False),
    "a small tensor": (lambda x, **layer: Cycle(x.new_zeros(8)), False),
    "what is there anyway": (lambda x, **layer: Cycle(*layer.values()), False),
}


def _dequantize(layer):
    eye = torch.eye(len(layer["g_idx"]), dtype=torch.float16)
    return TORCH.matmul(x=eye, **{**layer, "bias": None})


@pytest.mark.parametrize("left", IN_CYCLES)
def test_tensors_that_only_the_collector_frees_are_kept(left):
    leave, is_blamed = IN_CYCLES[left]

    def matmul(*, x, **weights):
        leave(x, **weights)
        return TORCH.matmul(x=x, **weights)

    backend = Backend("cycles", PLAIN_LIMITS, TORCH.numerics, matmul=matmul)
    verdict = examination(backend, LINE, Request(("memory",))).verdict()
    assert (verdict.kind == kinds.LEAKING) == is_blamed
    assert not is_blamed or "in cycles of references" in verdict.message
    assert gc.isenabled()
    gc.collect()


def test_a_bounded_number_of_cycles_is_not_blamed():
    held = deque(maxlen=12)

    def matmul(*, x, **weights):
        if len(held) == held.maxlen:
            held.popleft().own = None
        held.append(Cycle(x.clone()))
        return TORCH.matmul(x=x, **weights)

    backend = Backend("cycles", PLAIN_LIMITS, TORCH.numerics, matmul=matmul)
    assert examination(backend, LINE, Request(("memory",))).verdict().kind == kinds.PASS


@pytest.mark.parametrize("mode", ["grad", "gradient"])
def test_cycles_of_one_mode_alone_are_found(mode):
    def matmul(*, x, **weights):
        if mode == "grad" and x.requires_grad:
            Cycle(x.detach().clone())
        return TORCH.matmul(x=x, **weights)

    def gradient(*, grad, **weights):
        if mode == "gradient":
            Cycle(grad.clone())
        return TORCH.gradient(grad=grad, **weights)

    backend = Backend("cycles", TORCH.limits, TORCH.numerics, matmul=matmul, gradient=gradient)
    verdict = examination(backend, LINE, Request(("memory",))).verdict()
    assert verdict.kind == kinds.LEAKING
    assert f"{mode}, 28 of them, in cycles" in verdict.message


def recycled(slots, fits):
    """Places for results, bulky ones, given again once a result is gone; else a plain tensor."""
    free = [torch.empty(2**20) for _ in range(slots)]

    def place(right):
        if not free or not fits(right):
            return right
        buffer = free.pop()
        result = buffer[: right.numel()].view(right.shape).copy_(right)
        weakref.finalize(result, free.append, buffer)
        return result

    return place


def padded(rows, columns, parts=1):
    """The first of some parts in whole tiles of float32."""

    def place(right):
        m, n = right.shape
        tiles = right.new_zeros(parts, -(-m // rows) * rows, 2 * -(-n // columns) * columns)
        tiles[0, :m, :n] = right
        return tiles[0, :m, :n]

    return place


def with_beside(size_of):
    """A result that is the beginning of something larger."""

    def place(right, x=None):
        larger = right.new_empty(right.numel() + size_of(x))
        return larger[: right.numel()].view(right.shape).copy_(right)

    return place


PLACES = {  # where a result lies -> whether that is blamed, of a K that is long
    "in whole tiles": (padded(256, 256, 4), False),
    "in a recycled buffer": (recycled(20, lambda right: right.numel() <= 2**20), False),
    "beside x": (lambda right, x: with_beside(torch.numel)(right, x), True),
    "beside a weight": (
        lambda right, x: with_beside(lambda x: x.shape[1] * right.shape[1])(right, x),
        True,
    ),
}


@pytest.mark.parametrize("where", PLACES)
def test_a_result_that_is_held_keeps_no_more_than_it_may_need(where, monkeypatch):
    monkeypatch.setattr(asked_of_what_is_held, "SECONDS", PATIENCE)  # of a busy machine
    place, is_blamed = PLACES[where]

    def matmul(*, x, **weights):
        right = TORCH.matmul(x=x, **weights)
        if x.dim() != 2 or x.requires_grad:
            return right
        return place(right, x) if is_blamed else place(right)

    limits = dataclasses.replace(PLAIN_LIMITS, conditions=())
    backend = Backend("held", limits, TORCH.numerics, matmul=matmul)
    verdict = examination(backend, LINE, Request(("memory",))).verdict()
    assert (verdict.kind == kinds.LEAKING) == is_blamed, verdict
    assert not is_blamed or "each result of 4096 elements that is held" in verdict.message


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("sizes", [(64, 256, 256), (1, 64, 2**14)])
def test_a_larger_layer_is_one_that_the_kernel_takes(name, sizes):
    limits = LIMITS[name]
    backend = dataclasses.replace(TORCH, limits=limits)
    for case in kept_cases(limits):
        exam = Examination(backend, case, "cpu", Request(()))
        layer = enlarged(exam, *sizes)
        assert not limits.violations(layer.case)
        m, n, k = layer.case.m, layer.case.n, layer.case.k
        bits, weights = layer.case.bits, layer.weights()
        assert weights["qweight"].shape == (k * bits // 32, n)
        assert weights["scales"].shape == (layer.case.groups, n)
        assert weights["qzeros"].shape == (layer.case.groups, n * bits // 32)
        if weights["g_idx"] is not None:
            assert weights["g_idx"].tolist() == [
                row // layer.case.rows_per_group for row in range(k)
            ]
        assert layer.rows(3).shape[-1] == k
        assert m >= min(sizes[0], 1)


def test_a_layer_of_any_layout_may_be_asked():
    for tokens in ("-xt", "-bcast-wstr-gstr", "-step3-at8-bias", "-cut2-dim3"):
        verdict = examination(TORCH, LINE + tokens, Request(("memory",))).verdict()
        assert verdict.kind == kinds.PASS


@pytest.mark.parametrize("name", LIMITS)
def test_the_problems_asked_lie_within_the_limits(name):
    listed = kept_cases(LIMITS[name])
    assert listed
    assert not any(LIMITS[name].violations(case) for case in listed)


# Last: from now on this process holds what they kept


def test_nothing_is_counted_where_a_sanitizer_keeps_objects_itself():
    backend = load(LEAKING[0].spec, ".")
    for zones, kind in ((False, kinds.PASS), (True, kinds.LEAKING)):
        verdict = examination(backend, LINE, Request(("memory",)), zones=zones).verdict()
        assert verdict.kind == kind


@pytest.mark.parametrize("exhibit", todays(LEAKING, 2), ids=lambda exhibit: exhibit.name)
def test_a_kernel_that_keeps_memory_fails_no_other_check(exhibit):
    backend, line = load(exhibit.spec, "."), OF_MORE_ROWS.get(exhibit.name, LINE)
    assert examination(backend, line, Request("all")).verdict().kind == kinds.PASS
    verdict = examination(backend, line, Request("all", calls=2)).verdict()
    assert (verdict.kind, verdict.check) == (kinds.LEAKING, "memory")
