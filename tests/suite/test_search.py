"""The search: shrinks to the smallest failure, keeps to its budgets; what a kernel's run keeps."""

import itertools
import threading
import time
from types import SimpleNamespace

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.backend import PLAIN_LIMITS
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.search import search as searching
from gptq_fuzz.search.claims import must_pass
from gptq_fuzz.search.explained import MOST_PRODUCTS
from gptq_fuzz.search.findings import record
from gptq_fuzz.search.fuzz import REFUSALS, Lane, fuzz
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.minimise import simpler
from gptq_fuzz.search.own_time import TookTooLong
from gptq_fuzz.search.search import FLAKY_CALLS, OTHER_SEEDS, Failure, Search
from gptq_fuzz.search.strategies import cases, ways_to_be_refused
from gptq_fuzz.worker.supervisor import Launch

pytestmark = pytest.mark.turns(4)

CASE = Case.parse("m2-n8-k8-b4-gall")
SMALLEST = Case.parse("m1-n4-k4-b8-gall")
DRAWS = settings(max_examples=300, derandomize=True)


class Kernel:
    """Stands for a KernelUnderTest: `fails(case)` decides; every question is kept."""

    limits = PLAIN_LIMITS
    blamed = KernelUnderTest.blamed

    def __init__(self, fails, kind=kinds.WRONG, check="value", seconds=0.0):
        self.fails, self.kind, self.check, self.seconds = fails, kind, check, seconds
        self.asked, self.worker, self.is_dead = [], SimpleNamespace(restarts=0), False
        self.keeps_going = False

    def judge(self, case, checks=None, calls=1):
        self.asked.append((case, checks, calls))
        self.worker.restarts += self.is_dead  # as a worker, which starts again when it is asked
        self.is_dead = self.kind in kinds.FATAL and bool(self.fails(case))
        if not self.fails(case):
            return Verdict(kinds.PASS, case, seconds=self.seconds)
        return Verdict(self.kind, case, check=self.check, seconds=self.seconds)

    def judge_alone(self, case):
        return self.judge(case, ())

    def run(self, checks=None):
        return Search(self, checks).run(cases(PLAIN_LIMITS), DRAWS)


SHRUNK = [
    (lambda case: case.m > 50, "m51-n4-k4-b8-gall"),
    (lambda case: case.k > 64, "m1-n4-k68-b8-gall"),
    (lambda case: case.n % 32 and case.bits == 4, "m1-n8-k8-b4-gall"),
    (lambda case: case.m >= 2 and case.layout == "xt", "m2-n4-k4-b8-gall-xt"),
    (lambda case: case.k > case.rows_per_group and case.fill == "lanes", "m1-n4-k4-b8-g1-lanes"),
]


@pytest.mark.parametrize(("fails", "wanted"), SHRUNK)
def test_a_failure_is_shrunk_to_the_smallest_that_fails(fails, wanted):
    assert Kernel(fails).run().line == wanted


def test_a_kernel_that_is_right_gives_no_failure():
    kernel = Kernel(lambda case: False)
    assert kernel.run() is None
    assert len({case for case, _, _ in kernel.asked}) > 200


def test_no_case_is_judged_twice():
    kernel = Kernel(lambda case: case.m > 20, seconds=1.0)
    assert kernel.run().line == "m21-n4-k4-b8-gall"
    asked = [case for case, _, _ in kernel.asked]
    assert len(asked) == len(set(asked))


def test_the_checks_asked_for_are_run_until_a_case_fails():
    kernel = Kernel(lambda case: case.m > 30)
    kernel.run(("decoy",))
    first = next(at for at, (case, _, _) in enumerate(kernel.asked) if case.m > 30)
    assert {checks for _, checks, _ in kernel.asked[: first + 1]} == {("decoy",)}
    assert {checks for _, checks, _ in kernel.asked[first + 1 :]} == {()}


@pytest.mark.parametrize("check", ["decoy", "row alone"])
def test_a_smaller_case_is_asked_by_the_check_that_failed(check):
    kernel = Kernel(lambda case: case.m > 30, check=check)
    kernel.run()
    assert kernel.asked[-1][1:] == ((check,), 1)


@pytest.mark.parametrize("check", ["decoy", "reloaded"])
@pytest.mark.parametrize("alone", [kinds.PASS, kinds.WRONG])
def test_a_leak_is_one_only_if_the_other_weights_are_right_in_a_new_process(alone, check):
    kernel = Kernel(lambda case: True, kinds.STATE_LEAKED, check)
    kernel.judge_alone = lambda case: Verdict(alone, case)
    verdict = Search(kernel).judge(SMALLEST)
    wanted = (kinds.STATE_LEAKED, 0) if alone == kinds.PASS else (kinds.WRONG, 1)
    assert (verdict.kind, verdict.case.seed) == wanted


def test_what_a_leak_left_behind_is_asked_again_in_a_new_process():
    """More than 20 rows leave something behind, with which everything is wrong."""
    kernel, left = Kernel(lambda case: False), []

    def judge(case, checks=None, calls=1):
        if case.m > 20:
            left.append(case)
            return Verdict(kinds.STATE_LEAKED, case, check="oom")
        return Verdict(kinds.WRONG if left else kinds.PASS, case)

    kernel.judge, kernel.worker.stop = judge, left.clear
    assert kernel.run().line == "m21-n4-k4-b8-gall"


def test_a_flaky_kernel_is_called_often_while_shrinking():
    kernel = Kernel(lambda case: case.m > 30, kinds.NONDETERMINISTIC, "repeat")
    assert kernel.run().kind == kinds.NONDETERMINISTIC
    assert kernel.asked[-1][1:] == (("repeat",), FLAKY_CALLS)


def test_a_kernel_that_fails_one_question_in_five_has_one_verdict_and_line():
    """Hypothesis would call the test flaky if the same case were judged again."""
    count = itertools.count(1)
    kernel = Kernel(lambda case: next(count) % 5 == 0)
    found = kernel.run()
    assert found.kind == kinds.WRONG
    assert found.case in [case for case, _, _ in kernel.asked]


def test_another_seed_is_tried_where_a_smaller_case_passes():
    """The bug needs data that the smaller problem does not have with its own seed."""
    kernel = Kernel(lambda case: case.m > 4 and (case.seed == 2 or case.m > 20))
    found = kernel.run()
    assert found.case.m == 5


def test_other_seeds_are_not_tried_where_a_case_is_slow():
    kernel = Kernel(lambda case: case.m > 20, seconds=1.0)
    kernel.run()
    failed = next(case for case, _, _ in kernel.asked if case.m > 20)
    later = kernel.asked[kernel.asked.index((failed, None, 1)) + 1 :]
    assert len({case.replace(seed=0) for case, _, _ in later}) > 0.5 * len(later)


def test_nothing_is_judged_after_the_shrinking_time(monkeypatch):
    kernel = Kernel(lambda case: case.m > 20)
    questions = SimpleNamespace(monotonic=lambda: len(kernel.asked))  # a clock that they move on
    monkeypatch.setattr(searching, "time", questions)
    monkeypatch.setattr(searching, "SHRINK_SECONDS", 10)
    assert kernel.run().kind == kinds.WRONG
    first = next(at for at, (case, _, _) in enumerate(kernel.asked, 1) if case.m > 20)
    assert first + 10 < len(kernel.asked) <= first + 10 + 1 + len(OTHER_SEEDS)


def restarts_of_a_crashing_kernel():
    kernel = Kernel(lambda case: min(case.m, case.n, case.k) > 20, kinds.CRASHED)
    assert kernel.run().kind == kinds.CRASHED
    return kernel.worker.restarts


def test_a_worker_is_restarted_at_most_so_often_while_shrinking(monkeypatch):
    assert restarts_of_a_crashing_kernel() > 5
    monkeypatch.setattr(searching, "SHRINK_RESTARTS", 3)
    assert restarts_of_a_crashing_kernel() == 3


POLISHED = [
    # a line that fails, what fails, and what is left
    ("m1-n16-k64-b2-gall", lambda case: case.k >= 64, "m1-n4-k64-b8-gall"),
    ("m9-n32-k64-b4-g32-act-pad3-randn-s7", lambda case: True, "m1-n4-k4-b8-gall"),
    ("m9-n32-k64-b2-g5-gap-xt-tiny-s7", lambda case: case.layout, "m1-n4-k4-b8-gall-xt"),
    ("m9-n32-k64-b4-g32-rev-big", lambda case: case.groups > 1, "m1-n4-k4-b8-g1"),
    ("m64-n4-k4-b8-gall", lambda case: case.m > 50, "m51-n4-k4-b8-gall"),
]


@pytest.mark.parametrize(("text", "fails", "wanted"), POLISHED)
def test_single_steps_make_a_failing_line_simpler(text, fails, wanted):
    assert polished(Kernel(fails), text).line == wanted


def polished(kernel, text):
    search = Search(kernel)
    return search.polish(search.judge(Case.parse(text)))


def test_polishing_stops_when_the_shrinking_time_is_over(monkeypatch):
    monkeypatch.setattr(searching, "SHRINK_SECONDS", -1.0)
    kernel = Kernel(lambda case: True)
    assert polished(kernel, "m9-n32-k64-b4-g32-act").line == "m9-n32-k64-b4-g32-act"
    assert len(kernel.asked) == 1


def test_a_failure_that_could_be_smaller_is_told_to_be_so(monkeypatch):
    kernel = Kernel(lambda case: True)
    for limit, spent in ((60.0, False), (-1.0, True)):
        monkeypatch.setattr(searching, "SHRINK_SECONDS", limit)
        search = Search(kernel)
        search.polish(search.judge(Case.parse("m9-n32-k64-b4-g32-act")))
        assert search.is_spent == spent


def drawing_that_never_ends(kernel, after):
    """A strategy for SMALLEST, of which the parent loses patience after so many cases."""

    def draw():
        if len(kernel.asked) >= after:
            raise TookTooLong("drawing a case")
        return SMALLEST

    return st.builds(draw)


def test_a_failure_is_told_of_when_drawing_a_smaller_one_has_no_end():
    kernel = Kernel(lambda case: True)
    assert Search(kernel).run(drawing_that_never_ends(kernel, 1), DRAWS).case == SMALLEST


def test_drawing_that_has_no_end_is_no_failure_of_the_kernel():
    kernel = Kernel(lambda case: False)
    with pytest.raises(TookTooLong, match="drawing a case"):
        Search(kernel).run(drawing_that_never_ends(kernel, 0), DRAWS)


@pytest.mark.parametrize("text", ["m9-n32-k64-b4-g32-act-pad3-randn-s7", "m2-n32-k32-b2-g8-bcast"])
def test_simpler_cases_are_legal_other_cases(text):
    case = Case.parse(text)
    found = list(simpler(case, PLAIN_LIMITS))
    assert len(found) > 5
    assert case not in found
    assert not [other for other in found if PLAIN_LIMITS.violations(other)]


def test_a_remembered_verdict_is_not_asked_for():
    kernel = Kernel(lambda case: False)
    search = Search(kernel)
    search.remember(SMALLEST, Verdict(kinds.WRONG, SMALLEST))
    assert search.judge(SMALLEST).kind == kinds.WRONG
    assert kernel.asked == []


def test_one_seed_draws_the_same_cases():
    asked = []
    for at in (5, 5, 6):
        kernel = Kernel(lambda case: False)
        Search(kernel).run(cases(PLAIN_LIMITS), settings(max_examples=20), at=at)
        asked.append([case for case, _, _ in kernel.asked])
    assert asked[0] == asked[1]
    assert asked[0] != asked[2]


def test_a_failure_says_its_headline_and_line():
    failure = Failure(Verdict(kinds.WRONG, SMALLEST, "4 of 4 elements"))
    assert str(failure) == "WRONG: 4 of 4 elements [m1-n4-k4-b8-gall]"


class Worker:
    """Answers by `kind_of(case)`, and notes what it was asked."""

    restarts = 0
    limits = TORCH.limits
    judged = ()
    reached = 0

    def __init__(self, kind_of=lambda case: kinds.PASS):
        self.kind_of, self.checks, self.looked = kind_of, [], []

    def ask(self, case, checks="all", calls=1):
        self.checks.append(checks)
        return Verdict(self.kind_of(case), case, check="value")

    def ask_steps(self, steps, budget):
        return Verdict(kinds.PASS, steps[0].case)

    def look(self, task, case, check="value"):
        self.looked += [str(case)] * (task == "diagnosis")
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
    must_pass(kernel, st.just(CASE), 1)
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
        record(kernel, Verdict(kinds.WRONG, CASE, check="value"), first)
    assert kernel.worker.looked == [str(CASE), *looked]


def test_each_form_that_is_promised_to_be_refused_is_asked_in_its_turn(kernel):
    lane = Lane(kernel, 1, seed=1)
    ways = ways_to_be_refused(kernel.limits)
    assert len(ways) > REFUSALS
    while REFUSALS * lane.seed < len(ways) + REFUSALS:
        lane.drawn.clear()
        lane._draw()
        lane.seed += 1
    due = [case for round in kernel.aimed.values() for case in round if case.fill == "exact"]
    asked = [way for way in ways if any(is_of(case, way) for case in due)]
    assert asked == ways


def is_of(case, way):
    return all(getattr(case, field) == value for field, value in way.items())


class Shown:
    """A Screen that keeps what it is told."""

    def __init__(self):
        self.texts = []

    def show(self, kernels, findings, left):
        pass

    def tell(self, text):
        self.texts.append(text)


def test_a_failure_is_told_of_at_once_and_when_it_was_made_smaller(kernel):
    kernel.worker.kind_of = lambda case: kinds.WRONG if case.m > 20 else kinds.PASS
    kernel.in_process, shown = True, Shown()
    texts = fuzz([kernel], 60.0, 1, shown)
    first, small = shown.texts
    assert first.startswith("fuzz: WRONG, to be made smaller: gptq-fuzz --kernel torch --case m")
    assert [small] == texts
    assert small.startswith("reproduce: gptq-fuzz --kernel torch --case m21-n4-k4-b8-gall\n")


def test_a_search_that_keeps_going_has_one_finding_of_each_kind(kernel):
    def kind_of(case):
        if case.m > 20:
            return kinds.WRONG
        return kinds.RAISED if case.k > 64 else kinds.PASS

    kernel.worker.kind_of, kernel.in_process, kernel.keeps_going = kind_of, True, True
    fuzz([kernel], 5.0, 1, Shown())
    lines = {finding.verdict.kind: finding.verdict.line for finding in kernel.findings}
    assert len(kernel.findings) == 2
    assert lines[kinds.WRONG] == "m21-n4-k4-b8-gall"
    assert lines[kinds.RAISED] in ("m0-n4-k68-b8-gall", "m1-n4-k68-b8-gall")
    assert kernel.coverage.verdicts[kinds.WRONG] > 50
    assert kernel.unreported is None  # what was passed over is no failure that was left


def test_a_kernel_that_fails_costs_the_others_no_time(kernel):
    """While one failure is made smaller for longer than the budget, the clock stands still."""
    other = KernelUnderTest(Launch("right", "."), in_process=True)
    other.worker, kernel.in_process = Worker(), True
    kernel.worker.kind_of = lambda case: kinds.WRONG if case.m > 1 else kinds.PASS
    shown = Shown()
    shown.tell = lambda text: time.sleep(3.0)
    fuzz([kernel, other], 5.0, 1, shown)
    assert other.coverage.judged > 2 * kernel.first_failing["cases"]


def test_what_a_worker_has_compiled_is_taken_before_it_ends():
    def worker(*compiled):
        worker = SimpleNamespace(compiled=set(compiled))
        worker.stop, worker.end = worker.compiled.clear, lambda: None
        return worker

    main = worker("a")
    pool = SimpleNamespace(shutdown=lambda: None)
    lane = SimpleNamespace(
        pending={}, failed=None, pool=pool, workers=[main, worker("b")],
        kernel=SimpleNamespace(worker=main),
    )  # fmt: skip
    Lane.close(lane)
    assert main.compiled == {"a", "b"}
