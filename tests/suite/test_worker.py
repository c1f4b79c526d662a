"""Both ends of the pipe to a worker: how a kernel is made ready, and who is told what."""

import json
import os
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch

from gptq_fuzz.worker import in_process
from gptq_fuzz.worker import served as worker
from gptq_fuzz.worker.in_process import InProcess
from gptq_fuzz.worker.served import Served
from gptq_fuzz.worker.supervisor import CannotRun, Launch, Worker

pytestmark = pytest.mark.usefixtures("own_environment")
CONFIG = "CUBLAS_WORKSPACE_CONFIG"
TOLD_WITHIN = 5.0  # seconds until a user hears of a worker that is not ready


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_cublas_is_made_deterministic_before_cuda_starts(monkeypatch, one_thread):
    monkeypatch.delenv(CONFIG, raising=False)
    Served({"spec": "torch", "started_in": ".", "device": "cpu", "zones": True})
    assert os.environ[CONFIG] == ":4096:8"


def starting(device, devices, ready_on):
    """A Served that is about to start a backend which can be made ready on some devices."""
    served, asked = object.__new__(Served), []

    def start(place):
        asked.append(place)
        if place not in ready_on:
            raise OSError(f"no compiler for {place}")

    served.device, served.note = device, ""
    served.backend = SimpleNamespace(start=start, devices=devices)
    return served, asked


def test_a_cpu_will_do_where_no_device_was_asked_for():
    served, asked = starting("cuda:0", ("cuda", "cpu"), ["cpu"])
    served._start(asked_for=False)
    assert (served.device, served.note, asked) == (
        "cpu",
        "no compiler for cuda:0",
        ["cuda:0", "cpu"],
    )


@pytest.mark.parametrize(
    ("device", "devices", "asked_for"),
    [
        ("cuda:0", ("cuda", "cpu"), True),
        ("cuda:0", ("cuda",), False),
        ("cpu", ("cuda", "cpu"), False),
    ],
)
def test_a_device_that_was_asked_for_or_has_no_other_is_not_changed(device, devices, asked_for):
    served, asked = starting(device, devices, ["cpu"] if device != "cpu" else [])
    with pytest.raises(OSError, match=f"no compiler for {device}"):
        served._start(asked_for)
    assert (served.device, asked) == (device, [device])


def test_a_triton_without_hooks_tells_of_no_compilations(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", SimpleNamespace())
    served = object.__new__(Served)
    served.device = "cuda:0"
    assert served.report_compilations(lambda message: None) is None


class Reporting:
    """Stands for Served: it compiles while it is asked to report that."""

    def __init__(self, options):
        self.backend = None

    def report_compilations(self, send):
        send({"event": "compiling"})
        send({"event": "compiled", "specialisation": "one"})

    def description(self):
        return {"name": "f"}


def test_a_worker_reports_compilations_from_the_start(monkeypatch):
    monkeypatch.setattr(worker, "Served", Reporting)
    to_worker, request = os.pipe()
    answer, from_worker = os.pipe()
    os.close(request)
    with warnings.catch_warnings():  # the process ends where this function does
        warnings.simplefilter("ignore", ResourceWarning)
        worker.main(to_worker, from_worker, {})
    with os.fdopen(answer) as replies:
        told = [json.loads(line)["event"] for line in replies]
    assert told == ["compiling", "compiled", "ready"]


def test_a_kernel_in_this_process_reports_compilations_too(monkeypatch):
    monkeypatch.setattr(in_process, "Served", Reporting)
    kernel = InProcess(Launch("f", "."))
    kernel.wait_ready()
    assert kernel.compiled == {"one"}


def test_a_user_soon_hears_of_a_worker_that_is_not_ready(monkeypatch):
    waited = []
    slow = Worker(Launch("f", "."))
    monkeypatch.setattr(slow, "_tail", lambda: "; it builds")
    monkeypatch.setattr(
        slow, "_receive",
        lambda limit: waited.append(limit) or {"event": "ready" if waited[1:] else "timed out"},
    )  # fmt: skip
    slow.wait_ready()
    assert waited[0] <= TOLD_WITHIN < waited[1]


def test_a_process_that_does_not_end_has_not_been_ended_by_a_signal():
    def wait(seconds):
        raise subprocess.TimeoutExpired("worker", seconds)

    stuck = Worker(Launch("f", "."))
    stuck._process = SimpleNamespace(wait=wait, returncode=None)
    assert stuck._epitaph({"event": "closed"}) == "LOST"


def test_a_kernel_that_does_not_load_in_this_process_cannot_run():
    with pytest.raises(CannotRun, match="frobnicate"):
        InProcess(Launch("frobnicate", ".", device="cpu")).wait_ready()
