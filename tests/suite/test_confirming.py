"""What a kernel cannot reach: the judge in another process, the parent's look at an answer."""

import functools
import math
import os
import random
import signal
from pathlib import Path

import pytest

from gptq_fuzz._checkout import ROOT
from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.backend import from_callable
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.museum.catalogue import faulty
from gptq_fuzz.museum.parts import matmul
from gptq_fuzz.oracle.anew import judged_anew
from gptq_fuzz.oracle.examination import Request
from gptq_fuzz.worker import confirming, supervisor
from gptq_fuzz.worker.confirming import SHARE, Share
from gptq_fuzz.worker.supervisor import Launch, Worker
from tests.suite.actor import PLAY
from tests.suite.helpers import examination

pytestmark = pytest.mark.turns(4)

CASE = Case.parse("m2-n8-k16-b8-g8")
REFUSED = Case.parse("m2-n8-k16-b8-g8-badbits")
ACTOR = "tests/suite/actor.py:ACTOR"
PIECES = [exhibit for exhibit in faulty() if exhibit.only == "confirmed"]
LINES = (
    "m0-n4-k4-b8-gall",
    "m17-n64-k96-b4-g32-act-pad8-randn-s7",
    "m3-n8-k64-b4-g16-bf16-bias-nonfinite",
    "m4-n16-k48-b8-g16-dim3-bwd-cancel",
    "m2-n16400-k528-b2-gall-xt-big",  # of which a panel is judged
    "m1-n8-k8-b8-gall-f32-sf32-wstr-onehot",
)


@pytest.fixture
def start(request):
    def started(spec) -> Worker:
        worker = Worker(Launch(spec, str(ROOT), device="cpu"))
        request.addfinalizer(worker.stop)
        worker.start()
        return worker

    return started


@pytest.fixture(scope="module")
def torch_worker():
    worker = Worker(Launch("torch", str(ROOT), device="cpu"))
    worker.start()
    yield worker
    worker.stop()


@pytest.mark.parametrize("exhibit", PIECES, ids=lambda exhibit: exhibit.name)
def test_a_process_without_the_kernel_sees_what_no_other_oracle_sees(exhibit, start, monkeypatch):
    worker = start(exhibit.spec)
    found = worker.ask(CASE, ())
    assert (found.kind, found.check) == (kinds.WRONG, kinds.CONFIRMED)
    monkeypatch.setattr(Worker, "_confirmed", lambda worker, verdict, *how: verdict)
    assert worker.ask(CASE).kind == kinds.PASS


def test_a_right_result_is_right_for_both_judges_and_a_wrong_one_for_none():
    file = os.memfd_create("result")
    for line in LINES:
        request = Request((), publish=functools.partial(confirming.publish, file))
        exam = examination(TORCH, line, request)
        assert exam.verdict().kind == kinds.PASS, line
        size = confirming.size_of(exam.case)
        found, where = judged_anew(exam.case, os.pread(file, size, 0), TORCH.numerics, 0)
        assert (found.count, where) == (0, ""), line
        if size:
            os.pwrite(file, b"\x01\x7c\xff\x7f", 0)  # NaN, whatever the format
            found, where = judged_anew(exam.case, os.pread(file, size, 0), TORCH.numerics, 0)
            assert where, line
    os.close(file)


def test_what_is_expected_is_not_there_before_the_case_was_called_once():
    seen = []

    def f(**operands):
        seen.append("expected" in vars(exam))
        return matmul(**operands)

    exam = examination(from_callable(f, "f"), str(CASE), Request(("repeat",)))
    assert exam.verdict().kind == kinds.PASS
    assert not seen[0]


ANSWERS = [
    # what a worker says, and what becomes of it
    ({"kind": kinds.PASS, "used": 1.0}, kinds.PASS),
    ({"kind": kinds.PASS, "used": 5e33}, kinds.WRONG),
    ({"kind": kinds.PASS, "used": math.nan}, kinds.WRONG),
    ({"kind": kinds.PASS, "ratio": 3.0}, kinds.WRONG),
    ({"kind": kinds.PASS, "wrong_runs": 1}, kinds.WRONG),
    ({"kind": kinds.KNOWN}, kinds.WRONG),
    ({"kind": "FINE"}, kinds.LOST),
    ({"kind": kinds.PASS, "used": "0"}, kinds.LOST),
    ({"kind": kinds.PASS, "unknown": 0}, kinds.LOST),
    ([kinds.PASS], kinds.LOST),
    (None, kinds.LOST),
]


@pytest.mark.parametrize(("answer", "kind"), ANSWERS)
def test_an_answer_that_contradicts_itself_is_a_finding(answer, kind):
    assert supervisor._answered(answer, CASE).kind == kind


@pytest.mark.parametrize(("case", "kind"), [(CASE, kinds.REJECTED), (REFUSED, kinds.PASS)])
def test_an_answer_to_another_kind_of_question_is_a_finding(torch_worker, case, kind, monkeypatch):
    assert torch_worker.ask(case, ()).ok
    monkeypatch.setattr(torch_worker, "_verdict", lambda *asked: Verdict(kind, case))
    assert torch_worker.ask(case, ()).kind == kinds.WRONG


def test_a_kernel_whose_copy_answers_too_is_found_out(start):
    worker = start(ACTOR)
    scenes = ["forks", *["right"] * 9]
    cases = [Case.parse(f"{CASE}-play{scene}", [PLAY]) for scene in scenes]
    assert kinds.LOST in {worker.ask(case, ()).kind for case in cases}


def test_who_ends_the_other_judge_is_found_out_and_a_slow_one_is_not_waited_for(start, monkeypatch):
    worker = start("torch")
    pid = worker._process.pid
    child = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[-1])
    os.kill(child, signal.SIGSTOP)
    monkeypatch.setattr(confirming, "PATIENCE", 0.01)
    assert [worker.ask(CASE, (), 2).kind for _ in range(2)] == [kinds.PASS] * 2
    worker._confirming._is_late = False
    os.kill(child, signal.SIGKILL)
    assert worker.ask(CASE, (), 2).kind == kinds.LOST
    assert worker.ask(CASE, (), 2).kind == kinds.PASS


def test_what_is_judged_anew_is_drawn_and_takes_its_share_of_the_time(monkeypatch):
    monkeypatch.setattr(confirming, "CHANCE", random.Random(0))
    share, spent, answers = Share(), 0.0, 20000
    drawn = []
    for _ in range(answers):
        drawn.append(share.draws(CASE, 0.01))
        if drawn[-1]:
            share.took(0.02)
            spent += 0.02
    assert drawn[0]
    assert 0.8 * SHARE < spent / (0.01 * answers) < 1.25 * SHARE
    assert not Share().draws(CASE.replace(m=2**13, n=2**13), 1.0)
