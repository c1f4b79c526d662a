"""What one run keeps of a kernel: its verdicts, its first failure, and who looks closer at it."""

import threading
import time
from types import SimpleNamespace

import pytest
from hypothesis import strategies as st

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.search.fuzz import Lane
from gptq_fuzz.search.kernel import MOST_PRODUCTS, KernelUnderTest
from gptq_fuzz.search.search import Failure
from gptq_fuzz.worker.supervisor import Launch

CASE = Case.parse("m2-n8-k8-b4-gall")


class Worker:
    """Answers by `kind_of(case)`, and notes what it was asked."""

    restarts = 0
    limits = TORCH.limits

    def __init__(self, kind_of=lambda case: kinds.PASS):
        self.kind_of, self.checks, self.looked = kind_of, [], []

    def ask(self, case, checks="all", calls=1):
        self.checks.append(checks)
        return Verdict(self.kind_of(case), str(case), check="value")

    def look(self, task, case):
        self.looked.append(str(case))
        return {}

    def stop(self):
        pass


@pytest.fixture
def kernel():
    under_test = KernelUnderTest(Launch("torch", "."))
    under_test.worker = Worker()
    return under_test


def test_one_verdict_is_counted_at_a_time(kernel, monkeypatch):
    counting, together = [], []

    def add(case, verdict):
        counting.append(case)
        time.sleep(0.05)
        together.append(len(counting))
        counting.pop()

    monkeypatch.setattr(kernel.coverage, "add", add)
    judges = [threading.Thread(target=kernel.judge, args=(CASE,)) for _ in range(4)]
    for judge in judges:
        judge.start()
    for judge in judges:
        judge.join()
    assert together == [1] * 4


def test_the_first_failure_stays_the_first(kernel):
    kernel.worker.kind_of = lambda case: kinds.WRONG if case.m > 1 else kinds.PASS
    for m in (1, 3, 2):
        kernel.judge(CASE.replace(m=m))
    assert kernel.first_failing["line"] == "m3-n8-k8-b4-gall"
    assert kernel.first_failing["cases"] == 2


def test_the_check_of_a_drawn_case_is_chosen_by_its_line(kernel):
    kernel.must_pass(st.just(CASE), 1)
    assert kernel.worker.checks == [None]


@pytest.mark.parametrize(
    ("first", "looked"),
    [
        (None, []),
        (CASE.replace(seed=1), []),  # as small
        (CASE.replace(m=16), ["m16-n8-k8-b4-gall"]),
        (CASE.replace(m=MOST_PRODUCTS // 64), [f"m{MOST_PRODUCTS // 64}-n8-k8-b4-gall"]),
        (CASE.replace(m=MOST_PRODUCTS // 64 + 1), []),  # more products than are worth it
    ],
)
def test_a_larger_problem_is_looked_at_too_unless_it_is_huge(kernel, first, looked):
    with pytest.raises(Failure):
        kernel.record(Verdict(kinds.WRONG, str(CASE), check="value"), first)
    assert kernel.worker.looked == [str(CASE), *looked]


def test_what_a_worker_has_compiled_is_taken_before_it_ends():
    def worker(*compiled):
        made = SimpleNamespace(compiled=set(compiled))
        made.stop = made.compiled.clear
        return made

    main = worker("a")
    pool = SimpleNamespace(shutdown=lambda: None)
    lane = SimpleNamespace(
        pending={}, settle=lambda: None, pool=pool, workers=[main, worker("b")],
        kernel=SimpleNamespace(worker=main),
    )  # fmt: skip
    Lane.close(lane)
    assert main.compiled == {"a", "b"}
