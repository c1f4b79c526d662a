"""What a report prints: a line that fails again or none, what it needs, and each block once."""

import itertools
import shlex
from types import SimpleNamespace

import pytest

from gptq_fuzz._checkout import ROOT
from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.checks import RIGHT_ALONE
from gptq_fuzz.case.verdict import NOTHING, Verdict
from gptq_fuzz.plugin.once import Once, is_finding
from gptq_fuzz.search import provoked, replay
from gptq_fuzz.search.claims import must_pass_cases, must_pass_shrunk
from gptq_fuzz.search.explained import NO_TIME, diagnose
from gptq_fuzz.search.findings import report, shrink_and_report
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.replay import in_order, needed_before
from gptq_fuzz.search.search import FLAKY_CALLS, Failure, Search
from gptq_fuzz.worker.supervisor import Asked, Launch, Worker
from tests.runs import QUIET, run_many
from tests.turns import todays

pytestmark = pytest.mark.turns(4, whole=True)

CASE = Case.parse("m1-n8-k8-b4-gall")
OTHERS = [CASE.replace(m=m) for m in range(2, 200)]
FAULTY = "gptq_fuzz/museum/faulty"
TESTS = "gptq_fuzz/conformance/test_conformance.py"  # named: nothing else is collected
TIMES = 2


class Process:
    """Stands for a Worker: `fails(earlier, case)` decides by what one process was asked before."""

    restarts = 0
    limits = TORCH.limits

    def __init__(self, fails, kind=kinds.WRONG):
        self.fails, self.kind = fails, kind
        self.judged, self.starts, self.looks = [], 0, {}

    def ask(self, case, checks="all", calls=1):
        is_wrong = self.fails([asked.case for asked in self.judged], case)
        self.judged.append(Asked(case, checks, calls))
        return Verdict(self.kind if is_wrong else kinds.PASS, case, "one element", runs=calls)

    def look(self, task, case, check="value", seconds=None):
        return self.looks.get(task, {}).get(str(case), {})

    def stop(self):
        self.judged, self.starts = [], self.starts + 1


def under_test(fails, kind=kinds.WRONG):
    kernel = KernelUnderTest(Launch("mine.py:f", "."))
    kernel.worker = Process(fails, kind)
    return kernel


def reported(kernel, cases):
    """The finding about the last of the cases, which were judged one after another."""
    verdicts = [kernel.judge(case) for case in cases]
    with pytest.raises(Failure):
        report(kernel, verdicts[-1])
    return kernel.findings[-1]


def after(*needed):
    """Wrong where these were judged before, in this order."""

    def fails(earlier, case):
        places = [earlier.index(one) if one in earlier else -1 for one in needed]
        return case == CASE and -1 not in places and places == sorted(places)

    return fails


NEEDED = [[OTHERS[100]], [OTHERS[197]], [OTHERS[0], OTHERS[197]], OTHERS[3:6]]


@pytest.mark.parametrize("needed", NEEDED, ids=len)
def test_the_fewest_earlier_cases_are_printed_in_their_order(needed):
    finding = reported(under_test(after(*needed)), [*OTHERS, CASE])
    words = " ".join(f"--case {case}" for case in [*needed, CASE])
    assert finding.text().startswith(f"reproduce: gptq-fuzz --kernel mine.py:f {words}\n")
    assert finding.verdict.kind == kinds.STATE_LEAKED
    assert "only after other cases, in the order of this line" in finding.verdict.message


def test_what_was_judged_after_the_failure_is_not_asked_for():
    kernel = under_test(after(OTHERS[0]))
    found = [kernel.judge(case) for case in (OTHERS[0], CASE, *OTHERS)][1]
    with pytest.raises(Failure, match=f"--case {OTHERS[0]} --case {CASE}\n"):
        report(kernel, found)


def test_what_fails_alone_is_printed_alone():
    finding = reported(under_test(lambda earlier, case: case == CASE), [*OTHERS[:3], CASE])
    assert finding.text().startswith(f"reproduce: gptq-fuzz --kernel mine.py:f --case {CASE}\n")
    assert finding.verdict.kind == kinds.WRONG


def once(at):
    """Wrong at one question of the whole run."""
    count = itertools.count(1)
    return lambda earlier, case: next(count) == at


def test_a_flake_is_no_leak_and_has_no_line_that_passes():
    finding = reported(under_test(once(4), kinds.NONDETERMINISTIC), [*OTHERS[:3], CASE])
    assert finding.command == ""
    first, second = finding.text().splitlines()
    assert first == f"seen once, not reproduced: mine.py:f {CASE}"
    assert second.startswith("NONDETERMINISTIC (0 of 1 calls): ")
    assert second.endswith(f"; 0 of {FLAKY_CALLS} alone")


def test_what_does_not_come_back_has_no_line():
    finding = reported(under_test(once(4)), [*OTHERS[:3], CASE])
    assert "reproduce: " not in finding.text()
    assert finding.verdict.kind == kinds.WRONG
    assert "alone it is PASS, and no list of the cases before it fails again" in finding.text()


def test_what_was_seen_often_and_does_not_come_back_says_how_often():
    kernel = under_test(lambda earlier, case: case == CASE and kernel.worker.starts == 0)
    finding = reported(kernel, [CASE] * 3)
    assert (finding.command, finding.seen) == ("", 3)
    words = f"not reproduced in a new process, seen 3 times: mine.py:f {CASE}\n"
    assert finding.text().startswith(words)
    assert is_finding(finding.text())


def test_what_fails_after_calls_that_were_broken_off_is_printed_as_steps(monkeypatch):
    monkeypatch.setattr(provoked, "SECONDS", 3.0)
    spec = f"{FAULTY}/rest_of_rows_lost_after_an_error.py:f"
    kernel = KernelUnderTest(Launch(spec, str(ROOT), device="cpu"))
    kernel.worker.start()
    kernel.judge(Case.parse("m1-n4-k4-b8-gall"), ("memory",))  # which breaks calls off
    found = kernel.judge(Case.parse("m65-n4-k4-b8-gall"))
    assert found.kind == kinds.WRONG
    with pytest.raises(Failure, match="--steps load-0-n4-k4-b8-gall/"):
        report(kernel, found)
    kernel.worker.stop()


@pytest.mark.parametrize("kind", [kinds.WRONG, kinds.RAISED])
def test_what_a_case_leaves_in_its_process_does_not_make_others_fail(kind):
    """A fault of cases with a condition, after which each call of the process fails."""
    first = CASE.replace(m=7, k=64, fill="randn", condition="compile")

    def fails(earlier, case):
        return any(one.condition == "compile" for one in (*earlier, case))

    kernel = under_test(fails, kind)
    search = Search(kernel)
    with pytest.raises(Failure):
        shrink_and_report(kernel, search, search.judge(first))
    (finding,) = kernel.findings
    assert finding.verdict.kind == kind
    assert finding.command.endswith("--case m1-n4-k4-b8-gall-compile")


def test_a_list_that_fails_by_chance_is_not_printed():
    """Asked for in new processes, every second one fails."""
    kernel = under_test(lambda earlier, case: bool(earlier) and kernel.worker.starts % 2 == 0)
    finding = reported(kernel, [*OTHERS[:3], CASE])
    assert finding.command == ""


def test_the_search_ends_when_its_time_is_over(monkeypatch):
    monkeypatch.setattr(replay, "SECONDS", -1.0)
    kernel = under_test(after(OTHERS[0]))
    assert needed_before(kernel, CASE, [Asked(OTHERS[0], (), 1)]) is None


def test_a_short_list_is_asked_with_every_check_and_a_long_one_as_it_was():
    kernel = under_test(lambda earlier, case: False)
    asked = []
    kernel.worker.ask = lambda case, *how: asked.append(how) or Verdict(kinds.PASS, case)
    needed_before(kernel, CASE, [Asked(case, (), 1) for case in OTHERS])
    assert asked == [()] * (8 + 1) + [()] * (64 + 1) + [((), 1)] * len(OTHERS) + [()]


def test_lines_given_together_are_judged_in_their_order_in_one_process():
    """Then, as nothing failed, patiently; a line that is given twice is judged twice."""
    kernel = under_test(lambda earlier, case: False)
    must_pass_cases(kernel, [CASE, OTHERS[0], CASE])
    order = [asked.case for asked in kernel.worker.judged]
    assert order == [CASE, OTHERS[0], CASE] * 2
    assert [asked.calls for asked in kernel.worker.judged] == [1] * 3 + [FLAKY_CALLS] * 3


def test_of_lines_given_together_each_failure_has_its_own_line():
    kernel = under_test(lambda earlier, case: case == CASE or after(CASE)(earlier, case))
    with pytest.raises(Failure) as caught:
        must_pass_cases(kernel, [OTHERS[0], CASE])
    assert f"mine.py:f --case {CASE}\n" in str(caught.value)
    kernel = under_test(after(OTHERS[0]))
    with pytest.raises(Failure) as caught:
        must_pass_cases(kernel, [OTHERS[0], CASE])
    assert f"mine.py:f --case {OTHERS[0]} --case {CASE}\n" in str(caught.value)


@pytest.fixture
def running():
    worker = Worker(Launch("torch", str(ROOT), device="cpu"))
    yield worker
    worker.stop()


def test_a_worker_knows_what_its_process_has_judged(running):
    running.ask(CASE, ())
    running.ask(OTHERS[0])
    assert running.judged == [Asked(CASE, (), 1), Asked(OTHERS[0], "all", 1)]
    before = running.judged
    running.stop()
    running.ask(CASE)
    assert running.judged == [Asked(CASE, "all", 1)]
    assert len(before) == 2


LEAKS = {  # exhibit: cases of which the last one fails after the others
    "wrong_after_other_bits": ["m1-n4-k4-b8-gall", "m2-n16-k16-b4-gall", "m1-n16-k16-b2-gall"],
    "block_of_another_shape": ["m1-n8-k16-b4-g12", "m1-n4-k12-b8-gall"],
}


@pytest.mark.parametrize("name", todays(LEAKS, 2))
def test_a_list_fails_again_in_a_new_process_each_time(name):
    kernel = KernelUnderTest(Launch(f"{FAULTY}/{name}.py:f", str(ROOT), device="cpu"))
    kernel.worker.start()
    try:
        *earlier, last = map(Case.parse, LEAKS[name])
        for case in earlier:
            must_pass_shrunk(kernel, case)
        with pytest.raises(Failure):
            must_pass_shrunk(kernel, last)
        listed = cases_of(kernel.findings[0].command)
        assert len(listed) == 2
        verdicts = [in_order(kernel, listed)[-1] for _ in range(TIMES)]
        assert [verdict.kind for verdict in verdicts] == [kinds.WRONG] * TIMES
        assert in_order(kernel, listed[::-1])[-1].ok
    finally:
        kernel.worker.stop()


def cases_of(command):
    words = shlex.split(command)
    return [Case.parse(words[at + 1]) for at, word in enumerate(words) if word == "--case"]


PASTED = [word for line in LEAKS["wrong_after_other_bits"][::2] for word in ("--case", line)]
RUNS = {"": [], "xdist": ["-n", "1"], "no traceback": ["--tb=no"]}


@pytest.fixture(scope="module")
def pasted():
    spec = f"{FAULTY}/wrong_after_other_bits.py:f"
    words = [*QUIET, TESTS, "--kernel", spec, "--device", "cpu", *PASTED]
    # CI: pytest cuts no line of its summary there
    return run_many({name: words + more for name, more in RUNS.items()}, CI="true")


@pytest.mark.parametrize("name", RUNS)
def test_a_pasted_list_fails_in_any_run_and_is_printed_once(pasted, name):
    status, output = pasted[name]
    assert status == 1, output
    (printed,) = [line for line in output.splitlines() if line.startswith("reproduce: ")]
    assert printed.endswith(" ".join(PASTED))
    assert output.count("STATE_LEAKED: ") == 1


def failed(text, node="tests/one.py::test"):
    return SimpleNamespace(failed=True, longrepr=text, nodeid=node)


BLOCK = "reproduce: gptq-fuzz --kernel mine.py:f --case a\nWRONG: 1 of 4\nwhere: row 0"
OTHER = "reproduce: gptq-fuzz --kernel mine.py:f --case b\nWRONG: 2 of 4"


def test_a_second_test_with_the_same_line_says_as_above():
    told = Once("auto")
    first, second = failed(BLOCK), failed(BLOCK.replace("1 of 4", "3 of 4") + "\n\n" + OTHER)
    for one in (first, second):
        told.pytest_runtest_logreport(one)
    assert first.longrepr == BLOCK
    assert second.longrepr == f"as above: gptq-fuzz --kernel mine.py:f --case a\n\n{OTHER}"
    assert told.left([BLOCK, OTHER]) == []


def test_what_no_test_has_shown_is_left_for_the_end():
    told = Once("auto")
    told.pytest_runtest_logreport(failed(BLOCK))
    told.pytest_runtest_logreport(failed("AssertionError: of somebody else's test"))
    assert told.left([OTHER, BLOCK, OTHER]) == [OTHER]
    hidden = Once("no")
    hidden.pytest_runtest_logreport(failed(BLOCK))
    assert hidden.left([BLOCK, OTHER, BLOCK]) == [BLOCK, OTHER]


LARGER = CASE.replace(m=16)
ZEROS = {"explained": "zero-point 16 for 0", "pattern": "the only row; all k"}
SUMS = {"explained": "", "pattern": RIGHT_ALONE}
LOOKS = {
    # the line's, the larger case's -> explained, pattern, larger
    "both": (
        ZEROS,
        ZEROS,
        (*ZEROS.values(), f"{LARGER}: zero-point 16 for 0; the only row; all k"),
    ),
    "line": (ZEROS, SUMS, (*ZEROS.values(), "")),
    "larger": (SUMS, ZEROS, (*(f"{words} (in {LARGER})" for words in ZEROS.values()), "")),
    "none": (SUMS, SUMS, ("", RIGHT_ALONE, "")),
    "unexplained": (
        {"explained": "", "pattern": "all k"},
        ZEROS,
        (f"zero-point 16 for 0 (in {LARGER})", "all k", f"{LARGER}: the only row; all k"),
    ),
}


@pytest.mark.parametrize("name", LOOKS)
def test_what_is_said_of_the_line_and_of_a_larger_case_is_not_mixed(name):
    own, other, wanted = LOOKS[name]
    kernel = under_test(lambda earlier, case: True)
    kernel.worker.description = {"triton": ""}
    kernel.worker.looks["diagnosis"] = {str(CASE): own, str(LARGER): other}
    verdict = Verdict(kinds.WRONG, CASE)
    diagnose(kernel, verdict, LARGER)
    assert (verdict.explained, verdict.pattern, verdict.larger) == wanted
    assert (f"explained by {NOTHING}" in str(verdict)) == (not wanted[0])


def test_sums_in_another_format_are_named_where_weights_are_right():
    kernel = under_test(lambda earlier, case: True)
    kernel.worker.description = {"triton": ""}
    kernel.worker.looks["diagnosis"] = {str(CASE): SUMS}
    found = {"partial sums": "float16", "accumulator": "float32"}
    clash = ["partial: 'f32' is declared, float16 was found"]
    kernel.worker.looks["fingerprint"] = {str(CASE): {"found": found, "contradictions": clash}}
    verdict = Verdict(kinds.WRONG, CASE)
    diagnose(kernel, verdict, None)
    assert verdict.explained == "partial sums in float16"


def test_what_there_was_no_time_to_look_for_is_named():
    kernel = under_test(lambda earlier, case: True)
    kernel.worker.description = {"triton": ""}
    hints = {"hints": "other Numerics: not looked for, time"}
    late = {"diagnosis": SUMS, "fingerprint": {"is_late": True}, "hints": hints}
    kernel.worker.looks |= {task: {str(CASE): found} for task, found in late.items()}
    verdict = Verdict(kinds.WRONG, CASE)
    diagnose(kernel, verdict, None)
    assert verdict.explained == ""
    assert verdict.hints == f"{hints['hints']}; {NO_TIME}"


def test_the_question_of_a_relation_is_what_is_looked_at():
    kernel = under_test(lambda earlier, case: True)
    half = CASE.replace(n=8)
    kernel.worker.looks["diagnosis"] = {str(half): ZEROS}
    line = CASE.replace(n=24)
    verdict = Verdict(kinds.WRONG, line, check="columns split", asked=str(half))
    diagnose(kernel, verdict, LARGER.replace(n=240))
    assert (verdict.explained, verdict.larger) == (ZEROS["explained"], "")
