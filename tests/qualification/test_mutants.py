"""Mutants: operators do what they say, verdicts are counted, and the tree stays as it was."""

import json
from pathlib import Path

import pytest

from qualification.mutants import __main__ as command
from qualification.mutants import cuda, known, python, triton
from qualification.mutants.judge import KILLED, SURVIVED, BrokenBaseline, Judge, Verdict, run
from qualification.mutants.plans import commands
from qualification.mutants.site import Mutant, Site, mutant_of, read_equivalents

pytestmark = pytest.mark.turns(3)

ROOT = Path(__file__).resolve().parents[2]
KERNEL = "@triton.jit\ndef kernel(a, b, offs_m, offs_n):\n    {}\n"
TRITON = [  # a line of a kernel, what it becomes
    ("mask = a < b", "mask = (a <= b)"),
    ("c = a // b", "c = (a * b)"),
    ("c = a % b * 2", "c = (a % b + 2)"),
    ("a += b", "a -= b"),
    ("c = 7", "c = (8)"),
    ("c = tl.cdiv(a, 16)", "c = ((a) // (16))"),
    ("c = tl.minimum(a, 1)", "c = tl.maximum(a, 1)"),
    ("c = tl.load(a, mask=b, other=0)", "c = tl.load(a, mask=None, other=None)"),
    ("c = tl.load(a, mask=b, other=0)", "c = tl.load(a, mask=b, other=1)"),
    ("m = (a < b) & (b < a)", "m = (b < a)"),
    ("c = tl.where(a, b, 0)", "c = (0)"),
    ("c = offs_m[:, None]", "c = offs_n[:, None]"),
    ("c = offs_m[:, None]", "c = offs_m[None, :]"),
    ("c = a.to(tl.float32)", "c = a.to(tl.float16)"),
    ("c = a.to(tl.float32)", "c = (a)"),
    ("c = f(a, b)", "c = f(b, a)"),
    ("for i in range(0, a): pass", "for i in range(0, a + 1): pass"),
]
CUDA = [
    ("if (row >= rows) return;", "if (row > rows) return;"),
    ("if (row >= rows) return;", "if (false) return;"),
    ("if (a < b || c) return;", "if (a < b || false) return;"),
    ("TORCH_CHECK_VALUE(k % 8 == 0, name);", "TORCH_CHECK_VALUE(true, name);"),
    ("a = b + c;", "a = b - c;"),
    ("a = b + c;", ";"),
    ("a = b[i];", "a = b[i + 1];"),
    ("const int64_t i = 0;", "const int32_t i = 0;"),
    ("a = f(b, c);", "a = f(c, b);"),
    ("a = b ? 1 : 2;", "a = true ? 1 : 2;"),
    ("a = blockIdx.x;", "a = blockIdx.y;"),
    ("a = 1;\n__syncthreads();", "__syncthreads();\na = 1;\n"),
    ("a = 1;\n__syncthreads();", "a = 1;\nif (threadIdx.x < 32) __syncthreads();"),
]


def faulty(sites):
    return [site.faulty() for site in sites]


@pytest.mark.parametrize(("line", "wrong"), TRITON)
def test_an_operator_for_triton_puts_its_fault_in(line, wrong):
    assert KERNEL.format(wrong) in faulty(triton.sites("f.py", KERNEL.format(line)))


def test_what_triton_does_not_compile_is_left_to_another_tool():
    assert faulty(triton.sites("f.py", "def kernel(a, b):\n    return a < b\n")) == []


@pytest.mark.parametrize(("line", "wrong"), CUDA)
def test_a_pattern_for_cuda_puts_its_fault_in(line, wrong):
    text = "void f() {{\n{}\n}}\n"
    found = ["".join(each.split()) for each in faulty(cuda.sites("f.cu", text.format(line)))]
    assert "".join(text.format(wrong).split()) in found


def test_comments_texts_and_templates_are_no_code():
    text = '// a < b\n/* 1 */ "a + 1"\n#define N 8\ntemplate <int N, bool YES = true>\n'
    assert faulty(cuda.sites("f.cu", text)) == []


def test_cosmic_ray_mutates_what_computes():
    pytest.importorskip("cosmic_ray", reason="no_cosmic_ray: tox has it in `mutants`")
    code = "def f(a: int | None) -> int:\n    if a == 1:\n        raise ValueError(a + 2)\n"
    found = faulty(python.sites("f.py", code))
    assert code.replace("==", "!=") in found
    assert [text for text in found if "int & None" in text or "a - 2" in text] == []


def test_every_known_bug_has_its_place_and_changes_it():
    assert all(mutant_of(site).diff for site in known.sites())


def test_every_accepted_equivalent_is_still_in_the_code():
    for path, diff in read_equivalents():
        lines = {line.strip() for line in (ROOT / path).read_text().splitlines()}
        assert {line[2:] for line in diff if line.startswith("- ")} <= lines, path


def test_each_file_has_tests_that_concern_it():
    for folder in ("kernels", "gptq_fuzz"):
        for path in (ROOT / folder).rglob("*.py"):
            words = commands(path.relative_to(ROOT).as_posix(), ROOT)[0]
            assert any(word.endswith(".py") for word in words)


class Pretended:
    """A judge of no effort: everything survives but what is in one file."""

    def __init__(self, killed):
        self._killed = killed

    def prepare(self):
        pass

    close = prepare

    def judge(self, mutant):
        killed = mutant.site.path.endswith(self._killed)
        return Verdict(KILLED, "test_x") if killed else Verdict(SURVIVED)


@pytest.fixture
def known_only(monkeypatch):
    monkeypatch.setattr(python, "sites", lambda path, text: ())
    return ["--only", "known/", "--sample", "1000", "--seed", "3"]


def test_survivors_are_shown_and_the_killed_are_counted(known_only, tmp_path, capsys):
    words = [*known_only, "--results", str(tmp_path)]
    assert command.main(words, Pretended(killed="linear.py")) == 1
    found = json.loads((tmp_path / "mutants.json").read_text())
    printed = capsys.readouterr().out
    shown = printed.count("killed: kernels/"), printed.count("\n\nsurvived: kernels/")
    assert found["counts"] == dict(zip((KILLED, SURVIVED), shown, strict=True))
    assert "mutants: seed 3, " in printed
    assert "\n- buffers_.erase(device);" in printed
    assert "- rows = x.reshape(-1, self.infeatures)\n" not in printed


def test_what_is_accepted_as_equivalent_does_not_count(known_only, tmp_path, monkeypatch):
    path = "kernels/exllama/ext/registry.h"
    accepted = {(path, ("- buffers_.erase(device);",)): "for the test"}
    monkeypatch.setattr(command, "read_equivalents", lambda: accepted)
    words = [*known_only, "--results", str(tmp_path), "--least", "1"]
    command.main([*words, "--only", "registry.h"], Pretended(killed="linear.py"))
    assert json.loads((tmp_path / "mutants.json").read_text())["counts"]["equivalent"] == 1


def test_a_seed_draws_the_same_sample_again_and_takes_from_each_area():
    sites = [*known.sites(), *triton.sites("kernels/triton_matmul.py", read("triton_matmul.py"))]
    first, again = (command.draw(sites, 8, seed=5) for _ in range(2))
    assert first == again != command.draw(sites, 8, seed=6)
    assert [mutant.site.family for mutant in first].count("triton") == 4


def read(name):
    return (ROOT / "kernels" / name).read_text()


@pytest.fixture
def judge(tmp_path):
    """Of a tree with one function and one test of it."""
    for name, text in {
        "kernels/f.py": "def f():\n    return 1\n",
        "tests/test_f.py": "from kernels.f import f\n\ndef test_f():\n    assert f() == 1\n",
    }.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    words = ["pytest", "-q", "-rfE", "-p", "no:cacheprovider", "tests"]
    judge = Judge(tmp_path, plan=lambda path, root: [words])
    yield judge
    judge.close()


def mutant(source):
    return Mutant(Site("python", "kernels/f.py", 1, "x", lambda: source), source)


def test_a_test_that_fails_kills_and_the_tree_stays_as_it_was(judge, tmp_path):
    killed = judge.judge(mutant("def f():\n    return 2\n"))
    assert (killed.outcome, killed.by) == (KILLED, "tests/test_f.py::test_f - assert 2 == 1")
    survivor = judge.judge(mutant("def f():\n    return 2 - 1\n"))
    assert survivor.outcome == SURVIVED
    endless = judge.judge(mutant("import os\nos.kill(os.getpid(), 9)\n"))
    assert (endless.outcome, endless.by) == (KILLED, "exit status -9")
    assert (tmp_path / "kernels" / "f.py").read_text() == "def f():\n    return 1\n"


def test_nothing_is_judged_by_tests_that_fail_without_any_mutant(judge):
    with pytest.raises(BrokenBaseline, match="fails without any mutant"):
        judge.limit(["pytest", "-q", "no_such_file.py"])


def test_what_uses_too_much_processor_time_is_ended(judge, tmp_path):
    ended = run(["-c", "while True: pass"], tmp_path, tmp_path, limit=0.3)
    assert ended.status is None
    assert "no end within 0 s of processor time" in ended.late
