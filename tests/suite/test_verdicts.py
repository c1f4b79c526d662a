"""Each verdict produced on purpose, in a worker process that may crash, hang, lie or be killed."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.known import read_known
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.worker.supervisor import CannotRun, Launch, Worker
from tests.suite.actor import PLAY

ROOT = Path(__file__).resolve().parents[2]
ACTOR = "tests/suite/actor.py:ACTOR"
SIZES = "m2-n4-k4-b8-gall"
PATIENCE = 30.0  # seconds that a test waits for another process, at most


def case_of(tokens):
    return Case.parse(f"{SIZES}-{tokens}", [PLAY])


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worker")
    launch = Launch(ACTOR, str(ROOT), device="cpu", timeout=60, in_flight=str(folder / "in-flight"))
    worker = Worker(launch)
    worker.start()
    yield worker
    worker.stop()


@pytest.fixture(scope="module")
def impatient():
    worker = Worker(Launch(ACTOR, str(ROOT), device="cpu", timeout=2))
    worker.start()
    yield worker
    worker.stop()


ALIVE = [
    # scene, verdict, and words of its message
    ("playright", kinds.PASS, ""),
    ("playwrong", kinds.WRONG, "8 of 8 elements; worst out["),
    (
        "playresult_in_float32",
        kinds.WRONG_TYPE,
        "wanted torch.float16 (2, 4) on cpu, got torch.float32",
    ),
    ("playone_row_more", kinds.WRONG_TYPE, "got torch.float16 (3, 4)"),
    ("playnothing", kinds.WRONG_TYPE, "got NoneType"),
    ("playx_changed", kinds.INPUT_CHANGED, "changed left"),
    ("playwritten_behind", kinds.OUT_OF_BOUNDS, "wrote outside left"),
    ("playthreads_set", kinds.STATE_LEAKED, "thread count"),
    ("playdtype_set", kinds.STATE_LEAKED, "default dtype"),
    ("playrandom_drawn", kinds.STATE_LEAKED, "random state"),
    ("playgradients_off", kinds.STATE_LEAKED, "grad mode"),
    ("playraises", kinds.RAISED, "RuntimeError: this scene raises"),
    ("playnoise", kinds.PASS, ""),
    ("badgdtype-playright", kinds.REJECTED, "ValueError: wanted integers"),
    ("badbits-playright", kinds.REJECTED, "NotImplementedError"),
    ("badgdtype-playaccepts", kinds.FAILED_TO_REJECT, "a result came"),
    ("badgdtype-playasserts", kinds.FAILED_TO_REJECT, "unclear exception"),
    ("playasserts", kinds.RAISED, "AssertionError"),
    ("bf16-playright", kinds.FAILED_TO_REJECT, "a result came"),
]


def test_a_worker_takes_fingerprints_and_names_what_kills_it(worker):
    line = "m8-n4-k24-b8-gall"
    taken = worker.look("fingerprint", Case.parse(f"{line}-playright", [PLAY]))
    assert taken["found"]["result"] == "nearest even"
    taken = worker.look("fingerprint", Case.parse(f"{line}-playexits", [PLAY]))
    assert taken["problem"].startswith("LOST: the process ended with exit status 3")
    worker.start()


@pytest.mark.parametrize(("tokens", "kind", "words"), ALIVE)
def test_a_worker_outlives_this_verdict(worker, tokens, kind, words):
    restarts = worker.restarts
    verdict = worker.ask(case_of(tokens), checks=())
    assert (verdict.kind, verdict.line) == (kind, str(case_of(tokens)))
    assert words in verdict.message
    assert worker.ask(case_of("playright"), checks=()).kind == kinds.PASS
    assert worker.restarts == restarts


DEADLY = [
    ("playcrashes", kinds.CRASHED, "SIGSEGV"),
    ("playexits", kinds.LOST, "exit status 3; its output ended: 'last words'"),
    ("playgarbage_sent", kinds.LOST, "the worker's pipe carried 'WRONG"),
    ("playnumber_sent", kinds.LOST, "the worker's pipe carried '7'"),
]


@pytest.mark.parametrize(("tokens", "kind", "words"), DEADLY)
def test_a_worker_that_dies_is_named_and_replaced(worker, tokens, kind, words):
    restarts = worker.restarts
    verdict = worker.ask(case_of(tokens), checks=())
    assert (verdict.kind, verdict.line) == (kind, str(case_of(tokens)))
    assert words in verdict.message
    assert worker.ask(case_of("playright"), checks=()).kind == kinds.PASS
    assert worker.restarts == restarts + 1


def test_a_hanging_kernel_is_timed_out(impatient):
    started = time.monotonic()
    verdict = impatient.ask(case_of("playhangs"), checks=())
    assert verdict.kind == kinds.TIMED_OUT
    assert verdict.message == "no answer within 2 s (--timeout)"
    assert 2 <= time.monotonic() - started < PATIENCE


def test_the_line_is_on_disk_while_the_kernel_runs_and_a_killed_worker_is_replaced(worker):
    answers, wanted = [], f"{ACTOR} {case_of('playhangs')}\n"
    asking = threading.Thread(target=lambda: answers.append(worker.ask(case_of("playhangs"))))
    asking.start()
    ends = time.monotonic() + PATIENCE
    while Path(worker.launch.in_flight).read_text() != wanted and time.monotonic() < ends:
        time.sleep(0.01)
    os.kill(worker._process.pid, signal.SIGKILL)
    asking.join(PATIENCE)
    assert [(answer.kind, answer.message) for answer in answers] == [
        (kinds.CRASHED, "the process died of SIGKILL")
    ]
    assert worker.ask(case_of("playright"), checks=()).kind == kinds.PASS


def test_a_flaky_kernel_is_reported_as_k_of_n(worker):
    for _ in range(3):  # whichever of its calls comes first
        verdict = worker.ask(case_of("playthird_call_wrong"), checks=("repeat",), calls=500)
        assert verdict.kind == kinds.NONDETERMINISTIC
        assert verdict.headline().startswith(
            f"NONDETERMINISTIC ({verdict.wrong_runs} of {verdict.runs}"
        )
        assert 3 * verdict.wrong_runs - 3 <= verdict.runs <= 3 * verdict.wrong_runs + 3
        assert verdict.wrong_runs >= 2


def test_a_wrong_answer_that_does_not_come_again_is_never_called_wrong(worker):
    case = case_of("playthird_call_wrong")
    found = {worker.ask(case, checks=()).kind for _ in range(6)}
    assert found == {kinds.PASS, kinds.NONDETERMINISTIC}


@pytest.mark.parametrize("tokens", ["playdtype_set", "playgradients_off"])
def test_changed_state_is_put_back_for_the_cases_that_follow(worker, tokens):
    found = [worker.ask(case_of(tokens), checks=()).kind for _ in range(2)]
    assert found == [kinds.STATE_LEAKED] * 2


def test_a_backend_may_skip_what_its_machine_cannot_judge(worker):
    case = Case.parse("m0-n4-k4-b8-gall-playnoise", [PLAY])
    verdict = worker.ask(case, checks=())
    assert (verdict.kind, verdict.message) == (kinds.SKIPPED, "no_stage")


def test_a_known_failure_is_told_as_known(worker, tmp_path):
    known = tmp_path / "known.txt"
    known.write_text(f"{ACTOR} playwrong #12 a scene that is wrong\n")
    kernel = KernelUnderTest(worker.launch, waivers=read_known(known))
    verdict = kernel.judge(case_of("playwrong"), (), worker=worker)
    assert verdict.kind == kinds.KNOWN
    assert verdict.message.startswith("#12: WRONG: 8 of 8")
    assert kernel.judge(case_of("playraises"), (), worker=worker).kind == kinds.RAISED


def test_every_verdict_is_either_right_or_a_failure():
    right = {kind for kind in kinds.KINDS if Verdict(kind, SIZES).ok}
    assert right == {kinds.PASS, kinds.KNOWN, kinds.SKIPPED, kinds.REJECTED}
    with pytest.raises(ValueError, match="verdict must be one of"):
        Verdict("FINE", SIZES)


PLUG_INS = {
    "raising.py:f": ("raise RuntimeError('no such GPU')", ["raised RuntimeError: no such GPU"]),
    "exiting.py:f": ("raise SystemExit(0)", ["importing it raised SystemExit"]),
    "lacking.py:f": ("def g(): pass", ["has no 'f'", "it has g"]),
    "number.py:f": ("f = 7", ["wanted a callable f(x=", "or a Backend, got int"]),
    "absent.py:f": (None, ["there is no file", "absent.py"]),
    "absent_package.absent:f": (None, ["ModuleNotFoundError", "absent_package"]),
    "nameless.py": (
        "",
        ["wanted triton, exllama, torch, package.module:attribute or path/to/file.py"],
    ),
}


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    """Spec -> why its worker could not start; all of them start side by side."""
    folder = tmp_path_factory.mktemp("plug-ins")
    for spec, (source, _) in PLUG_INS.items():
        if source is not None:
            (folder / spec.partition(":")[0]).write_text(source)
    workers = {spec: Worker(Launch(spec, str(folder), device="cpu")) for spec in PLUG_INS}
    for worker in workers.values():
        worker.begin()
    return {spec: reason_not_to_start(worker) for spec, worker in workers.items()}


def reason_not_to_start(worker):
    with pytest.raises(CannotRun) as caught:
        worker.wait_ready()
    return str(caught.value)


@pytest.mark.parametrize("spec", PLUG_INS)
def test_a_plug_in_that_cannot_run_says_what_was_wanted(refusals, spec):
    assert spec in refusals[spec]
    missing = [words for words in PLUG_INS[spec][1] if words not in refusals[spec]]
    assert not missing, refusals[spec]
