"""Both ends of the pipe to a worker, which may crash, hang, lie or be killed: every verdict."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from gptq_fuzz._checkout import PACKAGE, ROOT
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.backend import from_callable
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.known import read_known
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.museum import parts
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.worker import in_process, supervisor
from gptq_fuzz.worker import served as serving
from gptq_fuzz.worker.calls import FIRST_TIMES, Calls
from gptq_fuzz.worker.in_process import InProcess
from gptq_fuzz.worker.served import Served
from gptq_fuzz.worker.supervisor import CannotRun, Ended, Launch, Worker
from tests.suite.actor import PLAY

ACTOR = "tests/suite/actor.py:ACTOR"
SIZES = "m2-n4-k4-b8-gall"
CONFIG = "CUBLAS_WORKSPACE_CONFIG"
PATIENCE = 30.0  # seconds that a test waits for another process, at most
SHOWN_WITHIN = 5.0  # seconds until a user hears of a worker that is not ready


def case_of(tokens, sizes=SIZES):
    return Case.parse(f"{sizes}-{tokens}", [PLAY])


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worker")
    launch = Launch(ACTOR, str(ROOT), device="cpu", timeout=60, in_flight=str(folder / "in-flight"))
    worker = Worker(launch)
    worker.start()
    yield worker
    worker.stop()


VERDICTS = [
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
    ("playx_changed", kinds.INPUT_CHANGED, "changed x"),
    ("playwritten_behind", kinds.OUT_OF_BOUNDS, "wrote outside x"),
    ("playthreads_set", kinds.STATE_LEAKED, "thread count"),
    ("playdtype_set", kinds.STATE_LEAKED, "default dtype"),
    ("playrandom_drawn", kinds.STATE_LEAKED, "random state"),
    ("playgradients_off", kinds.STATE_LEAKED, "grad mode"),
    ("playraises", kinds.RAISED, "RuntimeError: this scene raises"),
    ("playnoise", kinds.PASS, ""),
    ("badgdtype-playright", kinds.REJECTED, "ValueError: wanted integers"),
    ("badbits-playright", kinds.REJECTED, "wanted whole codes of 3 bits"),
    ("badgdtype-playaccepts", kinds.FAILED_TO_REJECT, "was due for badgdtype, a result came"),
    ("badgdtype-playasserts", kinds.FAILED_TO_REJECT, "unclear exception"),
    ("playasserts", kinds.RAISED, "AssertionError"),
    ("bf16-playright", kinds.FAILED_TO_REJECT, "was due for dtype bf16, a result came"),
    ("playcrashes", kinds.CRASHED, "SIGSEGV"),
    ("playexits", kinds.LOST, "exit status 3; its output ended: 'last words'"),
    ("playgarbage_sent", kinds.LOST, "the worker's pipe carried 'WRONG"),
    ("playnumber_sent", kinds.LOST, "the worker's pipe carried '7'"),
    ("playunasked", kinds.LOST, "an answer came to no question"),
]


@pytest.mark.parametrize(("tokens", "kind", "words"), VERDICTS)
def test_a_verdict_names_what_happened_and_a_worker_that_died_of_it_is_replaced(
    worker, tokens, kind, words
):
    restarts = worker.restarts
    verdict = worker.ask(case_of(tokens), checks=())
    assert (verdict.kind, verdict.case) == (kind, case_of(tokens))
    assert words in verdict.message
    assert worker.ask(case_of("playright"), checks=()).kind == kinds.PASS
    assert worker.restarts == restarts + (kind in kinds.FATAL)


def test_a_worker_takes_fingerprints_and_names_what_kills_it(worker):
    sizes = "m8-n4-k24-b8-gall"
    taken = worker.look("fingerprint", case_of("playright", sizes))
    assert taken["found"]["result"] == "nearest even"
    assert worker.look("fingerprint", case_of("playright", sizes), seconds=0.0)["is_late"]
    taken = worker.look("fingerprint", case_of("playexits", sizes))
    assert taken["problem"].startswith("LOST: the process ended with exit status 3")
    worker.start()


def test_a_hanging_kernel_is_timed_out():
    impatient = Worker(Launch(ACTOR, str(ROOT), device="cpu", timeout=1))
    for times in (FIRST_TIMES, 1):  # a first call, and then no other that hangs has so long
        started = time.monotonic()
        verdict = impatient.ask(case_of("playhangs"), checks=())
        assert verdict.kind == kinds.TIMED_OUT
        assert f"no answer within {times} s (--timeout" in verdict.message
        assert times <= time.monotonic() - started < PATIENCE
    impatient.stop()


SLOW = """
import time
from gptq_fuzz import Backend
from gptq_fuzz.museum.parts import matmul

TIMES = {"prepare": 1.5, "first": 1.5, "other": 0.4}
calls = []


def prepare(*, group_size, checkpoint_format, bias, **weights):
    if not calls:
        time.sleep(TIMES["prepare"])
    return weights


def run(weights, *, x):
    calls.append(None)
    time.sleep(TIMES["first" if len(calls) == 1 else "other"])
    return matmul(x, **weights)


f = Backend("slow", prepare=prepare, run=run)
"""


def test_a_time_limit_is_one_calls_and_preparing_and_a_first_call_have_longer(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    worker = Worker(Launch("slow.py:f", str(tmp_path), device="cpu", timeout=1))
    verdict = worker.ask(Case.parse("m1-n4-k4-b8-gall"), checks=("repeat", "decoy"))
    assert verdict.kind == kinds.PASS, verdict.headline()
    assert verdict.seconds > 1.5 + 1.5 + 4 * 0.4
    worker.stop()


PRINTS = """
import os
from gptq_fuzz.museum.parts import matmul


def f(x, **weights):
    os.write(1, b"." * 10**6 + str(len(x)).encode())
    if len(x) == 3:
        os.abort()
    return matmul(x, **weights)
"""


def test_what_a_kernel_prints_is_read_and_its_end_is_shown(tmp_path, monkeypatch):
    """No temporary folder has to be there, and stay there, for that."""
    (tmp_path / "prints.py").write_text(PRINTS)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "cleaned"))
    worker = Worker(Launch("prints.py:f", str(tmp_path), device="cpu"))
    assert worker.ask(Case.parse("m1-n4-k4-b8-gall"), checks=("repeat",)).kind == kinds.PASS
    verdict = worker.ask(Case.parse("m3-n4-k4-b8-gall"), checks=())
    assert verdict.kind == kinds.CRASHED
    assert verdict.message.endswith(".3'")
    assert len(verdict.message) < 2 * supervisor.TAIL
    worker.stop()


STARTING = """
import os
import time
from pathlib import Path


def f(**operands):
    for leaves in (False, True):
        if os.fork() == 0:
            if leaves:
                os.setsid()
            Path(f"started-{os.getpid()}").touch()
            time.sleep(600)
    while True:
        pass
"""
ASKS = """
import signal

from gptq_fuzz.case.case import Case
from gptq_fuzz.worker.supervisor import Launch, Worker

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a shell runs behind it
Worker(Launch("starts.py:f", ".", device="cpu")).ask(Case.parse("m1-n4-k4-b8-gall"))
"""


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_nothing_that_a_kernel_started_outlives_its_run(how, tmp_path):
    """Neither what spins, nor what it forked, also where that is in a session of its own."""
    (tmp_path / "starts.py").write_text(STARTING)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", ASKS], cwd=tmp_path, env=environment) as asking:
        started = wait_for(
            lambda: [*tmp_path.glob("started-*")][1:] and [*tmp_path.glob("started-*")]
        )
        pids = [int(path.name.partition("-")[2]) for path in started]
        worker = Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()[1]
        asking.send_signal(signal.SIGKILL if how == "killed" else signal.SIGINT)
        try:
            asking.wait(PATIENCE)
        finally:
            asking.kill()
    assert wait_for(lambda: not any(is_running(pid) for pid in (*pids, int(worker))))


def wait_for(found):
    """What it returns, once that is something."""
    ends = time.monotonic() + PATIENCE
    while not (value := found()) and time.monotonic() < ends:
        time.sleep(0.05)
    return value


def is_running(pid):
    """Whether there is such a process that is no zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_process_that_died_is_not_waited_for_where_another_holds_its_pipe(tmp_path):
    (tmp_path / "leaves.py").write_text(
        "import os, time\n\n\ndef f(**operands):\n"
        "    if os.fork() == 0:\n        time.sleep(600)\n    os.abort()\n"
    )
    worker = Worker(Launch("leaves.py:f", str(tmp_path), device="cpu"))
    assert worker.ask(Case.parse("m1-n4-k4-b8-gall"), checks=()).kind == kinds.CRASHED


@pytest.mark.parametrize("name", ["torch", "json", "colorsys"])
def test_a_kernel_may_be_called_as_another_module_is(name, tmp_path):
    """One that is in use, or would be found."""
    source = (PACKAGE / "museum" / "parts.py").read_text()
    (tmp_path / f"{name}.py").write_text(source)
    worker = Worker(Launch(f"{name}.py:matmul", str(tmp_path), device="cpu"))
    assert worker.ask(Case.parse("m1-n4-k4-b8-gall"), checks=()).kind == kinds.PASS
    worker.stop()


def test_a_worker_that_is_ended_while_it_is_asked_gives_no_verdict():
    """Where a run ends, or its kernel has failed elsewhere: nobody waits for the time-out."""
    worker, answers = Worker(Launch(ACTOR, str(ROOT), device="cpu")), []
    worker.start()

    def ask():
        with pytest.raises(Ended):
            worker.ask(case_of("playhangs"))
        answers.append("ended")

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.5)
    worker.end()
    asking.join(PATIENCE)
    assert answers == ["ended"]
    with pytest.raises(Ended):
        worker.ask(case_of("playright"))


def test_a_kernel_that_ends_its_process_at_import_is_named_with_the_reason(tmp_path):
    (tmp_path / "quits.py").write_text("import os\n\nos._exit(0)\n")
    wanted = "--kernel quits.py:f: LOST: the process ended with exit status 0"
    with pytest.raises(CannotRun, match=wanted):
        Worker(Launch("quits.py:f", str(tmp_path), device="cpu")).start()


def test_a_process_does_not_go_on_where_another_device_is(worker):
    seen = worker.description
    worker.stop()
    worker.description = seen | {"device": "NVIDIA H200"}
    with pytest.raises(CannotRun, match="ran on NVIDIA H200, its new process on CPU"):
        worker.ask(case_of("playright"))
    worker.description = seen
    assert worker.ask(case_of("playright"), checks=()).kind == kinds.PASS


def test_the_line_is_on_disk_while_the_kernel_runs_and_a_killed_worker_is_replaced(worker):
    answers, wanted = [], f"--kernel {ACTOR} --case {case_of('playhangs')}\n"
    asking = threading.Thread(target=lambda: answers.append(worker.ask(case_of("playhangs"))))
    asking.start()
    ends = time.monotonic() + PATIENCE
    while Path(worker.launch.in_flight).read_text() != wanted and time.monotonic() < ends:
        time.sleep(0.01)
    os.kill(worker._process.pid, signal.SIGKILL)
    asking.join(PATIENCE)
    (answer,) = answers
    assert answer.kind == kinds.LOST
    assert answer.message == "the process was killed from outside: SIGKILL"
    assert worker.ask(case_of("playright"), checks=()).kind == kinds.PASS


def test_a_flaky_kernel_is_reported_as_k_of_n(worker):
    for _ in range(3):  # whichever of its calls comes first
        verdict = worker.ask(case_of("playthird_call_wrong"), checks=("repeat",), calls=500)
        wrong, runs = verdict.wrong_runs, verdict.runs
        assert verdict.headline().startswith(f"NONDETERMINISTIC ({wrong} of {runs}")
        assert 3 * wrong - 3 <= runs <= 3 * wrong + 3
        assert wrong >= 2


def test_a_wrong_answer_that_does_not_come_again_is_never_called_wrong(worker):
    found = {worker.ask(case_of("playthird_call_wrong"), checks=()).kind for _ in range(6)}
    assert found == {kinds.PASS, kinds.NONDETERMINISTIC}


@pytest.mark.parametrize("tokens", ["playdtype_set", "playgradients_off"])
def test_changed_state_is_put_back_for_the_cases_that_follow(worker, tokens):
    found = [worker.ask(case_of(tokens), checks=()).kind for _ in range(2)]
    assert found == [kinds.STATE_LEAKED] * 2


def test_a_backend_may_skip_what_its_machine_cannot_judge(worker):
    verdict = worker.ask(case_of("playnoise", "m0-n4-k4-b8-gall"), checks=())
    assert (verdict.kind, verdict.message) == (kinds.SKIPPED, "no_stage")


def test_a_waived_failure_is_reported_as_known(worker, tmp_path):
    known = tmp_path / "known.txt"
    known.write_text(f"{ACTOR} playwrong #12 a scene that is wrong\n")
    kernel = KernelUnderTest(worker.launch, waivers=read_known(known))
    verdict = kernel.judge(case_of("playwrong"), (), worker=worker)
    assert verdict.kind == kinds.KNOWN
    assert verdict.message.startswith("#12: WRONG: 8 of 8")
    assert kernel.judge(case_of("playraises"), (), worker=worker).kind == kinds.RAISED


def test_every_verdict_is_either_right_or_a_failure():
    case = Case.parse(SIZES)
    right = {kind for kind in kinds.KINDS if Verdict(kind, case).ok}
    assert right == {kinds.PASS, kinds.KNOWN, kinds.SKIPPED, kinds.REJECTED}
    with pytest.raises(ValueError, match="verdict must be one of"):
        Verdict("FINE", case)


PLUG_INS = {
    # spec: the file's source, and words of the reason why its worker cannot start
    "raising.py:f": (
        "raise RuntimeError('no such GPU')",
        ["RuntimeError: no such GPU (", "raising.py:1"],
    ),
    "exiting.py:f": ("raise SystemExit(0)", ["importing it raised SystemExit"]),
    "lacking.py:f": ("def g(): pass", ["has no 'f'", "it has g"]),
    "short.py:f": ("def f(x, bits): pass", ["keywords x, qweight, qzeros", "takes (x, bits)"]),
    "number.py:f": ("f = 7", ["wanted a callable f(x=", "or a Backend, got int"]),
    "absent.py:f": (None, ["there is no file", "absent.py"]),
    "absent_package.absent:f": (None, ["ModuleNotFoundError", "absent_package"]),
    "nameless.py": (
        "",
        ["wanted triton, exllama, torch, "],
    ),
}


IN_A_WORKER = ("raising.py:f", "exiting.py:f")  # the others are loaded in this process


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    """Spec -> why its worker could not start."""
    folder = tmp_path_factory.mktemp("plug-ins")
    for spec, (source, _) in PLUG_INS.items():
        if source is not None:
            (folder / spec.partition(":")[0]).write_text(source)
    launches = {spec: Launch(spec, str(folder), device="cpu") for spec in PLUG_INS}
    workers = {spec: Worker(launches.pop(spec)) for spec in IN_A_WORKER}
    for worker in workers.values():
        worker.begin()
    workers |= {spec: InProcess(launch) for spec, launch in launches.items()}
    with mock.patch.dict(os.environ), mock.patch.object(sys, "path", [*sys.path]):
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


@pytest.mark.usefixtures("own_environment")
def test_a_kernel_that_does_not_load_in_this_process_cannot_run():
    with pytest.raises(CannotRun, match="frobnicate"):
        InProcess(Launch("frobnicate", ".", device="cpu")).wait_ready()


@pytest.mark.usefixtures("own_environment")
def test_cublas_is_deterministic_before_cuda_starts(monkeypatch):
    monkeypatch.delenv(CONFIG, raising=False)
    Served({"spec": "torch", "started_in": ".", "device": "cpu", "zones": True})
    assert os.environ[CONFIG] == ":4096:8"


STARTS = [
    # where the kernel is asked for, what its Backend runs on, whether by name; where it runs then
    ("cuda:0", ("cuda", "cpu"), False, ["cuda:0", "cpu"]),
    ("cuda:0", ("cuda", "cpu"), True, ["cuda:0"]),
    ("cuda:0", ("cuda",), False, ["cuda:0"]),
    ("cpu", ("cuda", "cpu"), False, ["cpu"]),
]


@pytest.mark.parametrize(("device", "devices", "asked_for", "tried"), STARTS)
def test_a_cpu_will_do_where_no_device_was_asked_for_and_the_kernel_has_another(
    device, devices, asked_for, tried
):
    served, asked = object.__new__(Served), []
    ready_on = tried[1:]

    def start(place):
        asked.append(place)
        if place not in ready_on:
            raise OSError(f"no compiler for {place}")

    served.device, served.note = device, ""
    served.backend = SimpleNamespace(start=start, devices=devices)
    if ready_on:
        served._start(asked_for)
        assert (served.device, served.note) == ("cpu", "no compiler for cuda:0")
    else:
        with pytest.raises(OSError, match=f"no compiler for {device}"):
            served._start(asked_for)
        assert served.device == device
    assert asked == tried


def test_a_triton_without_hooks_reports_no_compilations(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", SimpleNamespace())
    served = object.__new__(Served)
    served.device = "cuda:0"
    assert served.report_compilations(lambda message: None) is None


class Reporting:
    """Stands for Served: it compiles while it is asked to report that."""

    def __init__(self, options, backend=None):
        self.backend = from_callable(parts.matmul, "f")

    def report_compilations(self, send):
        send({"event": "compiling"})
        send({"event": "compiled", "specialisation": "one"})

    def description(self):
        return {"name": "f"}


def test_a_worker_reports_compilations_from_the_start(monkeypatch):
    monkeypatch.setattr(serving, "Served", Reporting)
    to_worker, request = os.pipe()
    answer, from_worker = os.pipe()
    os.close(request)
    with warnings.catch_warnings():  # the process ends where this function does
        warnings.simplefilter("ignore", ResourceWarning)
        serving.main(to_worker, from_worker, {"results": -1, "calls": Calls().file})
    with os.fdopen(answer) as replies:
        events = [json.loads(line)["event"] for line in replies]
    assert events == ["compiling", "compiled", "ready"]


def test_a_kernel_in_this_process_reports_compilations_too(monkeypatch):
    monkeypatch.setattr(in_process, "Served", Reporting)
    kernel = InProcess(Launch("f", "."))
    kernel.wait_ready()
    assert kernel.compiled == {"one"}


def test_a_user_soon_hears_of_a_worker_that_is_not_ready_and_now_and_then(monkeypatch, capsys):
    waited = []
    slow = Worker(Launch("f", "."))
    monkeypatch.setattr(slow, "_tail", lambda: "; it builds")
    monkeypatch.setattr(
        slow, "_receive",
        lambda limit: waited.append(limit) or {"event": "ready" if waited[3:] else "timed out"},
    )  # fmt: skip
    slow.wait_ready()
    assert waited[0] <= SHOWN_WITHIN
    shown = capsys.readouterr().err.splitlines()
    assert [line.partition(" after ")[2] for line in shown] == [
        f"{after} s; it builds" for after in (3, 6, 12)
    ]


def test_a_process_that_does_not_end_has_not_been_ended_by_a_signal():
    def wait(seconds):
        raise subprocess.TimeoutExpired("worker", seconds)

    stuck = Worker(Launch("f", "."))
    stuck._process = SimpleNamespace(wait=wait, returncode=None)
    assert stuck._kind_of_death({"event": "closed"}) == kinds.LOST


def trickle(data, pause):
    """A Worker whose process sends this again and again, for as long as it is listened to."""
    worker = Worker(Launch("f", "."))
    worker._read, end = os.pipe()

    def send():
        with contextlib.suppress(OSError):
            while os.write(end, data):
                time.sleep(pause)

    threading.Thread(target=send, daemon=True).start()
    return worker


def heard(worker, limit):
    """The message of such a worker; its pipe is closed then."""
    try:
        return worker._receive(limit)
    finally:
        os.close(worker._read)


@pytest.mark.parametrize(
    ("data", "pause", "event"),
    [
        (b".", 0.01, "timed out"),
        (b"." * 4096, 0.0, "garbage"),
        (b'{"event": "compiling"}\n', 0.01, "timed out"),
        (b'{"event": "compiling"}\n{"event": "compiled"}\n', 0.01, "timed out"),
    ],
)
def test_no_stream_of_bytes_or_messages_is_listened_to_for_ever(data, pause, event, monkeypatch):
    monkeypatch.setattr(supervisor, "LONGEST", 0.3)
    monkeypatch.setattr(supervisor, "LARGEST", 2**16)
    started = time.monotonic()
    assert heard(trickle(data, pause), limit=0.3)["event"] == event
    assert time.monotonic() - started < PATIENCE


def test_a_killed_process_that_stays_is_told_of_and_left(monkeypatch, capsys):
    def wait(seconds):
        raise subprocess.TimeoutExpired("worker", seconds)

    stuck = Worker(Launch("f", "."))
    (stuck._read, stuck._write), stuck._alive = os.pipe(), os.dup(0)
    stuck._process, stuck._mark = SimpleNamespace(pid=7, wait=wait), "none"
    stuck._confirming = stuck._calls = stuck._output = SimpleNamespace(close=int)
    monkeypatch.setattr(os, "killpg", lambda *_: None)
    stuck.stop()
    assert "process 7 was killed and does not end" in capsys.readouterr().err


SANITIZED = {
    # The result of the first is right and no red zone is written; only the read is wrong.
    "gptq_fuzz/museum/gpu/unmasked_tail.py:f": (1, "OUT_OF_BOUNDS: compute-sanitizer memcheck"),
    "torch": (0, "PASS 1"),
}


@pytest.mark.gpu
@pytest.mark.skipif(shutil.which("compute-sanitizer") is None, reason="no_compute_sanitizer")
@pytest.mark.bug("MK-04 L-04")
@pytest.mark.parametrize("kernel", SANITIZED)
def test_memcheck_reports_an_unmasked_tail_and_nothing_of_the_control(kernel):
    command = [sys.executable, "-m", "pytest", "--kernel", kernel, "--case", "m1-n4-k4-b8-gall"]
    command += ["--sanitizer", "memcheck", "--timeout", "200"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    status, words = SANITIZED[kernel]
    assert run.returncode == status, run.stdout
    assert words in run.stdout
