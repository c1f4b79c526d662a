"""What is kept with every call is found, however slowly it grows; what is bounded is left alone."""

from collections import deque

import pytest
import torch

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.museum.catalogue import correct, faulty
from gptq_fuzz.oracle import kept as under_test
from gptq_fuzz.oracle.examination import Request
from gptq_fuzz.oracle.kept import ROUNDS, can_be_counted, kept
from gptq_fuzz.search.kept import kept_cases
from gptq_fuzz.worker.loader import load
from tests.suite.helpers import LIMITS, examination

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not can_be_counted("cpu"), reason="no_mallinfo2"),
]
LINE = "m3-n8-k16-b4-g8"
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
    assert kept(keeping(None, MADE[made]), "cpu", PATIENCE)


@pytest.mark.parametrize("bound", [0, 1, 40, 300, 512, 2048])
def test_what_is_bounded_is_not(bound):
    assert kept(keeping(bound, MADE["a tensor of one element"]), "cpu", PATIENCE) is None


def test_nothing_is_said_of_a_kernel_for_which_there_is_no_time():
    assert kept(keeping(None, MADE["a tuple"]), "cpu", 0.0) is None


def test_two_rounds_are_enough_where_there_is_no_time_for_more(monkeypatch):
    held, clock = [], iter(range(10**6))
    monkeypatch.setattr(under_test.time, "monotonic", lambda: next(clock))
    found = kept(lambda number: held.append((number,)), "cpu", 3 * sum(ROUNDS[:2]) + 5)
    assert found[1] == 3 * sum(ROUNDS[:2])


@pytest.mark.parametrize("exhibit", LEAKING, ids=lambda exhibit: exhibit.name)
def test_a_kernel_that_keeps_memory_fails_no_other_check(exhibit):
    backend = load(exhibit.spec, ".")
    assert examination(backend, LINE, Request("all")).verdict().kind == kinds.PASS
    for request in (Request(("memory",)), Request("all", calls=2)):
        verdict = examination(backend, LINE, request).verdict()
        assert (verdict.kind, verdict.check) == (kinds.LEAKING, "memory")


def test_nothing_is_counted_where_a_sanitizer_keeps_objects_itself():
    backend = load(LEAKING[0].spec, ".")
    verdict = examination(backend, LINE, Request(("memory",)), zones=False).verdict()
    assert verdict.kind == kinds.PASS


@pytest.mark.parametrize("exhibit", correct(), ids=lambda exhibit: exhibit.name)
def test_no_correct_kernel_is_said_to_keep_memory(exhibit):
    backend = load(exhibit.spec, ".")
    line = str(kept_cases(backend.limits)[-1])
    assert examination(backend, line, Request(("memory",))).verdict().kind == kinds.PASS


def test_a_layer_of_any_layout_may_be_asked():
    for tokens in ("-xt", "-bcast-wstr-gstr", "-step3-at8-bias", "-cut2-dim3"):
        verdict = examination(TORCH, LINE + tokens, Request(("memory",))).verdict()
        assert verdict.kind == kinds.PASS


@pytest.mark.parametrize("name", LIMITS)
def test_the_problems_asked_lie_within_the_limits(name):
    listed = kept_cases(LIMITS[name])
    assert listed
    assert not any(LIMITS[name].violations(case) for case in listed)
