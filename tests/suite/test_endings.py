"""How a run ends that does not come to its end: by signals, and what it leaves to the next one."""

import os
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from gptq_fuzz._checkout import PACKAGE
from gptq_fuzz.plugin import progress, report
from gptq_fuzz.plugin.in_flight import InFlight
from gptq_fuzz.plugin.progress import Progress
from gptq_fuzz.search import called_as

pytestmark = pytest.mark.turns(2)

PATIENCE = 60.0  # seconds that a test waits for another process, at most
IN_FLIGHT = ".gptq-fuzz/in-flight-*.txt"
TIMEOUT = 300  # of a case: who waits for it waits too long
HANGS = """
import time


def f(**operands):
    time.sleep(40)
"""


def begun(folder, *how):
    """A run, once its kernel is asked something, and that."""
    words = ["--kernel", "hangs.py:f", "--device", "cpu", *how]
    old = set(folder.glob(IN_FLIGHT))
    run = subprocess.Popen(
        [sys.executable, str(PACKAGE), *words, "--timeout", str(TIMEOUT)],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        for path in {*folder.glob(IN_FLIGHT)} - old:
            if asked := path.read_text().strip():
                return run, asked
        time.sleep(0.05)
    raise AssertionError(f"nothing was asked: {run.communicate()[0]}")


@pytest.mark.turns(4)
def test_a_run_that_is_killed_tells_the_next_one_and_one_that_is_ended_tells_at_once(tmp_path):
    (tmp_path / "hangs.py").write_text(HANGS)
    killed, before = begun(tmp_path, "--budget", "60")
    killed.kill()
    killed.communicate()
    for how in (["--budget", "60"], ["-n", "1"]):
        ended, asked = begun(tmp_path, *how)
        started = time.monotonic()
        ended.send_signal(signal.SIGINT)
        time.sleep(0.2)  # who ends a run often sends another one a moment later
        ended.send_signal(signal.SIGTERM)
        output, _ = ended.communicate(timeout=PATIENCE)
        assert time.monotonic() - started < PATIENCE < TIMEOUT
        assert ended.returncode == 2, output
        told = f"a run that did not end was judging this: {again(before)}" in output
        assert told == ("-n" not in how)  # once
        assert f"the run was judging this: {again(asked)}" in output
        assert list(tmp_path.glob(IN_FLIGHT)) == []


def again(asked):
    return f"{called_as.python_word()} {PACKAGE} {asked}"


def test_a_run_that_goes_on_is_not_taken_for_one_that_did_not_end(tmp_path):
    first, second = InFlight(tmp_path), InFlight(tmp_path)
    with open(first.new(), "w") as file:
        file.write("--kernel f --case m1-n4-k4-b8-gall\n")
    assert second.left_behind() == []
    assert first.asked() == ["--kernel f --case m1-n4-k4-b8-gall"]
    first.close()
    assert list(tmp_path.iterdir()) == []


def test_a_run_goes_on_where_no_file_can_be_written_or_stays(tmp_path, monkeypatch):
    nowhere = tmp_path / "file"
    nowhere.touch()
    monkeypatch.setattr(tempfile, "tempdir", str(nowhere))
    run = InFlight(nowhere / "folder")
    assert (run.new(), run.asked()) == ("", [])
    run.close()
    run = InFlight(tmp_path / "cleaned")
    os.unlink(run.new())
    assert run.asked() == []
    run.close()


@pytest.mark.parametrize(
    ("skips", "is_short"),
    [
        ({"out_of_memory": 83, "too_large_7_bytes": 1}, True),
        ({"out_of_memory": 83}, False),
        ({"interpreter_bf16": 1000, "no_gpu": 9}, False),
    ],
)
def test_more_skips_for_want_of_memory_than_verdicts_are_no_success(skips, is_short):
    data = {"kernels": {"f": {"cases": 83, "skips": skips, "fingerprints": {}}}}
    assert bool(report.shortfall(data)) == is_short


def test_what_takes_long_is_told_of_now_and_then(monkeypatch):
    monkeypatch.setattr(progress, "QUIET_START", 0.1)
    told = Progress(lambda: ["--kernel f --case LINE"])
    read, write = os.pipe()
    os.dup2(write, told._terminal)
    with told._told("a test"):
        time.sleep(0.25)
    with told._told("another"):
        pass
    os.close(write)
    told.pytest_unconfigure()
    with os.fdopen(read) as shown:
        assert shown.read().split("\n") == [
            *("", "gptq-fuzz: a test: 0.1 s; --kernel f --case LINE"),
            *("", "gptq-fuzz: a test: 0.2 s; --kernel f --case LINE", ""),
        ]


def test_an_interpreter_that_lacks_something_says_what():
    ran = subprocess.run(
        [sys.executable, "-I", "-S", str(PACKAGE)], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, "lacks filelock, hypothesis, pytest" in ran.stderr) == (4, True)


@pytest.mark.parametrize("is_of_tox", [False, True])
def test_under_tox_the_interpreter_is_named_by_its_path(monkeypatch, tmp_path, is_of_tox):
    folder = os.path.dirname(sys.executable)
    monkeypatch.setenv("PATH", folder)
    monkeypatch.setenv(called_as.TOX, os.path.dirname(folder) if is_of_tox else str(tmp_path))
    assert (called_as.python_word() == sys.executable) == is_of_tox
