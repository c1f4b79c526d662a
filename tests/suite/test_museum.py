"""Faulty kernels are caught and shrunk to what their file states; correct ones are left alone.

Five faulty kernels always run, of the others one shard a day: GPTQ_FUZZ_SHARD=0 to 119 chooses it.
"""

import functools
import math
import zlib
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from gptq_fuzz._checkout import ROOT
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.case import Case
from gptq_fuzz.museum.catalogue import ALWAYS, correct, faulty
from gptq_fuzz.search import search
from gptq_fuzz.search.claims import must_pass, must_pass_shrunk
from gptq_fuzz.search.crossings import batch_cases, crossing_cases, edge_cases
from gptq_fuzz.search.dispatch import dispatch_cases
from gptq_fuzz.search.findings import shrink_and_report
from gptq_fuzz.search.gradients import gradient_cases
from gptq_fuzz.search.kept import kept_cases
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.layers import layer_cases
from gptq_fuzz.search.offsets import offset_cases
from gptq_fuzz.search.pairwise import covering_cases
from gptq_fuzz.search.replay import in_order
from gptq_fuzz.search.search import FLAKY_CALLS, Failure, Search
from gptq_fuzz.search.strategies import cases, refusals
from gptq_fuzz.search.sweep import DIMENSIONS, sweep
from gptq_fuzz.worker.supervisor import Launch
from tests.turns import ALL, DAY, todays

SHARDS = 120
AS_SMALL = 2  # times the products of the smallest: which way is taken to it, Hypothesis decides
DRAWS = 1000  # until a fault is met; most are within ten
DRAWS_OF_A_CORRECT_KERNEL = 60
LISTS = {  # what drawn cases hardly meet
    "triples": lambda limits: covering_cases(limits, 3),
    "offsets": offset_cases,
    "layers": layer_cases,
    "memory": kept_cases,
    "states": lambda limits: [case for case in covering_cases(limits, 2) if case.state],
    "crossings": crossing_cases,
    "dispatch": dispatch_cases,
    "edges": edge_cases,
    "batches": batch_cases,
    "gradients": gradient_cases,
}
CHECK_OF = {"edges": "guarded", "batches": "row alone"}  # of what is in a list
LISTS |= {name: functools.partial(sweep, name) for name in DIMENSIONS}
IN_A_WORKER = ("noisy", "transposed_result")  # the others: tests/suite/test_false_alarms.py
PATIENCE = 60.0  # seconds for a call, which a loaded machine may hold up for several
HANGS_AFTER = 6.0  # where the exhibit is one that never answers

pytestmark = pytest.mark.museum


def is_due(exhibit) -> bool:
    return ALL or exhibit.name in ALWAYS or shard_of(exhibit) == DAY % SHARDS


def shard_of(exhibit) -> int:
    return zlib.crc32(exhibit.name.encode()) % SHARDS


# tests/suite/test_history.py has those that only a history shows, a job of the night the other
ELSEWHERE = ("history", "many codes")
CHOSEN = [exhibit for exhibit in faulty() if is_due(exhibit) and exhibit.only not in ELSEWHERE]
WATCHED = [exhibit for exhibit in correct() if exhibit.name in IN_A_WORKER]


def launch_of(exhibit) -> Launch:
    hangs = kinds.TIMED_OUT in exhibit.verdicts
    return Launch(exhibit.spec, str(ROOT), device="cpu", timeout=HANGS_AFTER if hangs else PATIENCE)


@pytest.fixture
def kernel(request, monkeypatch):
    """An exhibit under test in a worker of its own, shrunk however slow the machine is."""
    monkeypatch.setattr(search, "SHRINK_SECONDS", 600.0)
    under_test = KernelUnderTest(launch_of(request.param))
    under_test.worker.start()
    yield under_test
    under_test.worker.stop()


def must_all_pass(kernel: KernelUnderTest, listed, checks=()) -> None:
    for case in listed:
        must_pass_shrunk(kernel, case, checks)


def found_in(kernel: KernelUnderTest, at: int, only: str):
    """What a search over all fills from one seed reports: judged again alone, in a new process.

    Where `only` is a list of cases, what judging that list reports.
    """
    if only in LISTS:
        with pytest.raises(Failure) as caught:
            must_all_pass(kernel, LISTS[only](kernel.limits), (CHECK_OF.get(only, only),))
        return caught.value.verdict
    looking = Search(kernel)
    limits = kernel.limits
    if only in limits.conditions:  # others show nothing: of one in four cases it is the condition
        limits = replace(limits, conditions=(only,))
    drawn = cases(limits)
    if kernel.limits.bad:
        drawn = st.one_of(drawn, refusals(kernel.limits))
    met = looking.run(drawn, settings(max_examples=DRAWS), at=at)
    assert met is not None, f"{DRAWS} cases passed"
    with pytest.raises(Failure) as caught:
        shrink_and_report(kernel, looking, met)
    return caught.value.verdict


def again_in_order(kernel: KernelUnderTest):
    """The verdicts on the last line of the finding's command, judged in new processes."""
    words = kernel.findings[-1].command.split()
    cases = [Case.parse(line) for word, line in pairwise(words) if word == "--case"]
    return [in_order(kernel, cases)[-1] for _ in range(5)]


@pytest.mark.parametrize(
    ("exhibit", "kernel"),
    [(e, e) for e in CHOSEN],
    ids=[e.name for e in CHOSEN],
    indirect=["kernel"],
)
def test_a_faulty_kernel_is_caught_and_shrunk(exhibit, kernel):
    verdict = found_in(kernel, zlib.crc32(exhibit.name.encode()), exhibit.only)
    case = verdict.case
    assert verdict.kind in exhibit.verdicts, verdict.headline()
    # it was judged in a new process
    assert ("only after other cases" in verdict.message) == exhibit.after_others
    if exhibit.after_others:
        assert all(not one.ok for one in again_in_order(kernel))
        return
    products = case.m * case.n * case.k
    assert products <= AS_SMALL * math.prod(exhibit.smallest), verdict.line
    kernel.worker.stop()  # what only a first call shows asks for a process that had none
    again = kernel.worker.ask(case, "all", FLAKY_CALLS)
    assert again.kind in exhibit.verdicts, again.headline()


@pytest.mark.parametrize("kernel", todays(WATCHED, 2), ids=lambda e: e.name, indirect=True)
def test_a_correct_kernel_passes_every_check(kernel):
    must_pass(kernel, cases(kernel.limits), DRAWS_OF_A_CORRECT_KERNEL, "all")
    assert kernel.coverage.judged >= 0.8 * DRAWS_OF_A_CORRECT_KERNEL  # a few are drawn twice
    assert set(kernel.coverage.verdicts) == {kinds.PASS}


def test_the_exhibits_that_always_run_exist():
    assert {exhibit.name for exhibit in faulty()} >= ALWAYS
    assert {exhibit.name for exhibit in WATCHED} == set(IN_A_WORKER)
