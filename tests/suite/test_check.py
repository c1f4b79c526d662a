"""`check` in a test of somebody's own: where the kernel runs, what is raised, what is left."""

import importlib
import math
import os
import random
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import configuration, given, settings
from hypothesis import strategies as st

import gptq_fuzz
from gptq_fuzz.api import check as module_of_check
from gptq_fuzz.api.check import check
from gptq_fuzz.api.named import specs_of
from gptq_fuzz.case.backend import Backend, Limits
from gptq_fuzz.museum import parts
from gptq_fuzz.museum.correct import pairwise, tf32_nearest
from gptq_fuzz.museum.faulty import crashes, zero_not_wrapped
from gptq_fuzz.search import search
from gptq_fuzz.worker import served
from tests.turns import todays

pytestmark = pytest.mark.turns(4)

ROOT = Path(__file__).resolve().parents[2]
SHORT = 1.5  # seconds: a few cases
PLAIN = Limits(bad=(), refuses_outside=False)


def wrong_everywhere(x, qweight, qzeros, scales, g_idx, bits):
    return parts.matmul(x, qweight, qzeros, scales, g_idx, bits) + 1


@pytest.fixture(autouse=True)
def quick_shrinking(monkeypatch):
    monkeypatch.setattr(search, "SHRINK_SECONDS", 20.0)


@pytest.fixture
def only_fuzzing(monkeypatch):
    monkeypatch.setattr(module_of_check, "our_corpus", list)
    monkeypatch.setattr(module_of_check, "covering_cases", lambda limits, strength: [])
    monkeypatch.setattr(module_of_check, "canned", lambda limits: [])


def report_of(kernel, budget=SHORT, **options):
    with pytest.raises(AssertionError) as raised:
        check(kernel, budget=budget, device="cpu", **options)
    assert type(raised.value) is AssertionError
    return str(raised.value)


KERNELS = {
    "function": pairwise.f,
    "Backend": tf32_nearest.f,
    "built-in": "torch",
    "name": "gptq_fuzz.museum.correct.pairwise:f",
}


@pytest.mark.parametrize("kernel", todays(KERNELS, 2))
def test_a_right_kernel_passes_in_a_worker(kernel):
    summary = check(KERNELS[kernel], budget=SHORT, device="cpu")
    assert summary.ran_in == "a worker"
    assert summary.verdicts["PASS"] > 0
    assert summary.verdicts.keys() <= {"PASS", "REJECTED"}
    assert summary.cases == sum(summary.verdicts.values())
    assert str(summary).startswith(f"{summary.cases} case")


@pytest.mark.usefixtures("only_fuzzing")
@pytest.mark.parametrize("kernel", [pairwise.f, lambda **operands: pairwise.f(**operands)])
def test_a_right_kernel_is_fuzzed_until_the_budget_is_spent(kernel):
    summary = check(kernel, only="b4-randn", budget=3, device="cpu")
    assert summary.seconds >= 3
    assert summary.cases > 1
    assert summary.verdicts == {"PASS": summary.cases}


def test_the_command_of_a_finding_shows_it_again(tmp_path, monkeypatch):
    folder = tmp_path / "my kernels"
    folder.mkdir()
    source = Path(zero_not_wrapped.__file__).read_text()
    (folder / "faulty_here.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(folder))
    text = report_of(importlib.import_module("faulty_here").f, budget=10)
    first, verdict, *_ = text.splitlines()
    assert first.startswith("reproduce: ")
    words = "--kernel 'my kernels/faulty_here.py:f' --device cpu --case m1-n4-k4-b8-gall"
    assert first.endswith(words)
    assert verdict.startswith("WRONG: 1 of 4 elements")
    assert "explained by zero-point 256 for 0" in text
    assert "judged in a worker" in text
    command = shlex.split(first.removeprefix("reproduce: "))
    again = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert again.returncode == 1, again.stdout
    assert verdict in again.stdout


@pytest.mark.usefixtures("only_fuzzing")
def test_what_fuzzing_finds_is_raised():
    text = report_of(wrong_everywhere, only="b4", budget=20)
    assert "reproduce: " in text
    assert "--only b4 --device cpu --case m1-n8-k8-b4-gall" in text


def test_a_crash_is_a_verdict(monkeypatch):
    monkeypatch.setattr(search, "SHRINK_RESTARTS", 2)
    assert "CRASHED: the process died of SIGSEGV" in report_of(crashes.f, budget=10)


def closure():
    def f(**operands):
        return wrong_everywhere(**operands)

    return f


def backend_in_a_closure():
    def matmul(*, bias, group_size, checkpoint_format, **operands):
        return wrong_everywhere(**operands)

    return Backend("mine", PLAIN, matmul=matmul)


@pytest.mark.parametrize("kernel", [closure(), backend_in_a_closure()], ids=["closure", "Backend"])
def test_a_kernel_without_a_name_is_judged_in_this_process_and_that_is_said(kernel, tmp_path):
    text = report_of(kernel)
    assert text.startswith("case m1-n4-k4-b8-gall; no command shows it")
    assert "WRONG: 4 of 4 elements" in text
    assert "judged in this process (no module with a file holds the kernel)" in text


class Held:
    """A kernel that is an attribute of a class, and one that needs an instance."""

    @staticmethod
    def static(**operands):
        return pairwise.f(**operands)

    def bound(self, **operands):
        return pairwise.f(**operands)


named_lambda = lambda **operands: pairwise.f(**operands)  # noqa: E731
HERE = "tests/suite/test_check.py"


def test_objects_are_named_as_a_worker_can_load_them(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert specs_of(pairwise.f) == [
        "gptq_fuzz.museum.correct.pairwise:f",
        "gptq_fuzz/museum/correct/pairwise.py:f",
    ]
    assert specs_of(tf32_nearest.f)[0] == "gptq_fuzz.museum.correct.tf32_nearest:f"
    assert f"{HERE}:named_lambda" in specs_of(named_lambda)
    assert f"{HERE}:Held.static" in specs_of(Held.static)
    for unnamed in (Held().bound, closure(), lambda: None, backend_in_a_closure(), len):
        assert specs_of(unnamed) == []


def test_a_path_is_from_the_folder_that_the_command_is_printed_in(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert f"{ROOT / HERE}:wrong_everywhere" in specs_of(wrong_everywhere)


def test_a_module_that_no_worker_can_import_is_judged_here_and_the_report_says_why(
    tmp_path, monkeypatch
):
    """As with names that only a test's conftest.py puts there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "needs_us.py").write_text(
        "import only_in_this_process\nfrom gptq_fuzz.museum.correct.pairwise import f as g\n"
        "def f(**operands): return g(**operands)\n"
    )
    monkeypatch.setitem(sys.modules, "only_in_this_process", torch)
    monkeypatch.syspath_prepend(str(tmp_path))
    summary = check(importlib.import_module("needs_us").f, budget=SHORT, device="cpu")
    assert summary.ran_in.startswith("this process (--kernel needs_us")
    assert "No module named 'only_in_this_process'" in summary.ran_in


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        ("absent.py:f", "there is no file"),
        ("gptq_fuzz.museum.parts:absent", "has no 'absent'"),
        ("nonsense", "wanted triton, exllama, torch, .*package.module:attribute"),
        (5, "wanted a function, a Backend or a text as --kernel takes, got 5"),
        (None, "got None"),
    ],
)
def test_a_kernel_that_cannot_be_loaded_is_a_valueerror(kernel, words):
    with pytest.raises(ValueError, match=words):
        check(kernel, budget=SHORT, device="cpu")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"only": "b7"}, "--only b7: this kernel's bits are"),
        ({"budget": 0}, "budget must be a number of seconds above 0, got 0"),
        ({"budget": math.nan}, "budget must be"),
        ({"budget": math.inf}, "budget must be"),
        ({"device": "tpu"}, "tpu"),
    ],
)
def test_wrong_options_are_a_valueerror(options, words):
    with pytest.raises(ValueError, match=words):
        check("torch", **options)


@pytest.mark.parametrize("backend", [{"skip": lambda case, device: "never"}], ids=["skips"])
def test_no_case_judged_is_a_failure(backend):
    kernel = Backend("skips", PLAIN, matmul=pairwise.f, **backend)
    text = report_of(kernel)
    assert text.startswith("no case was judged: SKIPPED(never) ")
    assert "0 cases judged" in text


@pytest.fixture
def two_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def state():
    """What a caller may rely on."""
    return {
        "threads": torch.get_num_threads(),
        "random": torch.get_rng_state().tolist(),
        "Python's random": random.getstate(),
        "environment": dict(os.environ),
        "profile": repr(settings()),
        "folder": getattr(configuration, "__hypothesis_home_directory", None),
        "sys.path": list(sys.path),
        "grad": torch.is_grad_enabled(),
    }


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("kernel", [pairwise.f, lambda **operands: pairwise.f(**operands)])
def test_the_caller_s_state_and_folder_stay_as_they_are(kernel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = state()
    check(kernel, budget=SHORT, device="cpu")
    assert state() == before
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=1, deadline=None)
@given(st.just(4))
def test_it_is_refused_inside_a_test_that_draws_cases_too(bits):
    with pytest.raises(ValueError, match="cannot do so inside a test of @given"):
        check(pairwise.f, only=f"b{bits}")


SCRIPT = """
import sys
sys.modules["pytest"] = None
sys.path.append({root!r})
import gptq_fuzz
from gptq_fuzz.museum.parts import matmul

def f(x, qweight, qzeros, scales, g_idx, bits):
    return matmul(x, qweight, qzeros, scales, g_idx, bits)

summary = gptq_fuzz.check(f, budget=1.5, device="cpu")
print("ran in", summary.ran_in)
"""


def test_a_script_that_calls_it_as_it_is_loaded_is_no_endless_loop(tmp_path):
    """A worker loads the file, meets the call and passes over it; no pytest is needed either."""
    (tmp_path / "script.py").write_text(SCRIPT.format(root=str(ROOT)))
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ran in a worker\n"


def test_inside_a_worker_nothing_is_judged(monkeypatch):
    monkeypatch.setattr(served, "is_worker", True)
    assert gptq_fuzz.check(crashes.f).cases == 0


def test_a_case_is_asked_in_no_way_that_only_leaves_out(only_fuzzing):
    """Relations and conditions too: fewer rows, another layout, other formats and configs."""

    def narrow(x, checkpoint_format, **others):
        if x.numel() < 64 * x.shape[-1] or x.stride(-2) == x.shape[-1] or checkpoint_format == "v1":
            raise RuntimeError("asked for something else")
        return parts.TORCH.matmul(x=x, checkpoint_format=checkpoint_format, **others)

    limits = replace(PLAIN, formats=("v1", "v2"), conditions=("infer", "batchinv"))
    kernel = Backend("narrow", limits, matmul=narrow)
    assert check(kernel, only="m64+-pad-v2", budget=SHORT, device="cpu").cases
    with pytest.raises(AssertionError, match="asked for something else"):
        check(kernel, only="m64+-pad", budget=SHORT, device="cpu")
