"""Another commit's kernels in their own process: where they come from, what is answered."""

import io
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from gptq_fuzz.bench import device as devices
from gptq_fuzz.bench.against import Checkout, NoSuchCommit
from gptq_fuzz.bench.bound import Ceilings
from gptq_fuzz.bench.points import point
from gptq_fuzz.bench.remote import TREE, Remote, RemoteFailed, serve
from gptq_fuzz.bench.stopwatch import Stopwatch

SMALL = point(4, 128, 64)
OPTIONS = {"device": "cpu", "ceilings": Ceilings(10.0, 0.1, 10.0)}
CHECKED_OUT = ("kernels", "reference", "gptq_fuzz")
REPORTS = """
import kernels, reference, gptq_fuzz.bench, gptq_fuzz

def f(x, qweight, qzeros, scales, g_idx, bits):
    raise LookupError([one.__file__ for one in (kernels, reference, gptq_fuzz, gptq_fuzz.bench)])
"""


@pytest.fixture
def tree(tmp_path):
    """A checkout with a kernel that reports where everything was imported from."""
    for name in CHECKED_OUT:
        shutil.copytree(TREE / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "reports.py").write_text(REPORTS)
    return tmp_path


@pytest.fixture
def failure(request):
    """Why the other process fails to time `spec` with a checkout."""

    def failure(tree, spec):
        remote = Remote(tree, OPTIONS)
        request.addfinalizer(remote.stop)
        with pytest.raises(RemoteFailed) as failed:
            remote.prepare(spec, str(TREE), str(SMALL))
        return str(failed.value)

    return failure


def test_all_but_the_stopwatch_is_the_other_checkouts(tree, failure):
    reason = failure(tree, "reports.py:f")
    files = [f"{tree}/{name}/__init__.py" for name in CHECKED_OUT]
    assert f"LookupError: {[*files, f'{TREE}/gptq_fuzz/bench/__init__.py']}" in reason


def test_a_process_that_cannot_start_is_reported_with_its_output(tmp_path, failure):
    reason = failure(tmp_path, "torch")
    assert f"the stopwatch of {tmp_path} ended; its output ended: Traceback" in reason
    assert reason.endswith(f"No such file or directory: '{tmp_path}/gptq_fuzz/__init__.py'")


def test_requests_are_answered_in_lines_and_go_on_after_an_error():
    lines = [
        {"do": "prepare", "spec": "torch", "started_in": "", "line": "m1-n4"},
        {"do": "prepare", "spec": "torch", "started_in": "", "line": str(SMALL)},
        {"do": "sample", "what": "kernel"},
        {"do": "sample", "what": "cublas"},
    ]
    answers = io.StringIO()
    serve(map(json.dumps, lines), answers, Stopwatch(devices.Cpu()))
    failed, prepared, *samples = map(json.loads, answers.getvalue().splitlines())
    assert "lacks k, bits, group_size" in failed["problem"]
    assert (prepared["way"], prepared["config"]) == ("clock", "not known")
    assert all(one["seconds"] > 0 for one in samples)


@pytest.mark.skipif(shutil.which("git") is None, reason="no_git")
def test_another_commit_is_checked_out_and_removed(tmp_path):
    for words in ("init -q", "config user.name x", "config user.email x@y.z",
                  "commit -q --allow-empty -m one"):  # fmt: skip
        subprocess.run(["git", "-C", str(tmp_path), *words.split()], check=True)
    checkout = Checkout(tmp_path, "HEAD")
    assert (checkout.tree / ".git").is_file()
    assert checkout.name.startswith("HEAD (")
    checkout.remove()
    assert not checkout.tree.exists()
    with pytest.raises(NoSuchCommit, match=r"--against nowhere: .*nowhere"):
        Checkout(tmp_path, "nowhere")


def test_a_folder_with_kernels_is_compared_with_as_it_is(tmp_path):
    (tmp_path / "kernels").mkdir()
    checkout = Checkout(Path("/nowhere"), str(tmp_path))
    checkout.remove()
    assert (checkout.tree, checkout.name) == (tmp_path, str(tmp_path))
    assert tmp_path.exists()
