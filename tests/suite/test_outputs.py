"""What a run writes, and in which words, whatever names and places it is given."""

import io
import os
import threading
from types import SimpleNamespace

from gptq_fuzz import command
from gptq_fuzz.plugin import report
from gptq_fuzz.worker.served import Served


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    report.write_report(pipe, b"all of it")
    reader.join(10)
    assert read == [b"all of it"]
    assert not pipe.is_file()


def test_names_in_the_table_are_no_markup(monkeypatch):
    monkeypatch.setattr(report, "_write_notes", lambda *_: None)
    screen = io.StringIO()
    seen = {"verdicts": {"PASS": 1}, "cases": 1, "used": 0.5}
    reporter = SimpleNamespace(_tw=SimpleNamespace(_file=screen, fullwidth=100))
    report._write_table(reporter, {"[bold]/k.py:f": seen}, is_about_a_space=False)
    assert "[bold]/k.py:f" in screen.getvalue()


def test_a_task_at_the_end_takes_no_file_of_ours_for_its_value():
    *_, task, ours = command._translated(["--kernel", "f.py:f", "--fingerprint"])
    assert task.startswith("--fingerprint=")
    assert ours.endswith("test_conformance.py")


def test_versions_are_plain_text():
    """What xdist carries from process to process."""
    served = Served({"spec": "torch", "started_in": ".", "device": "cpu", "zones": True})
    assert type(served.description()["torch"]) is str


def test_a_whole_run_alone_is_shared_out_among_cores(monkeypatch):
    monkeypatch.setattr(command.os, "sched_getaffinity", lambda pid: set(range(16)))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    shared = ["-n", "4", "--dist", "worksteal"]
    for words in ([], ["--kernel", "mine.py:f"], ["--only", "b4", "--json=out.json"]):
        assert command._side_by_side(words) == shared
    for word in ("-x", "-n0", "-k", "--case=LINE", "--budget", "--maxfail=1", "no:xdist"):
        assert command._side_by_side(["--kernel", "mine.py:f", word]) == []
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    assert command._side_by_side([]) == []
