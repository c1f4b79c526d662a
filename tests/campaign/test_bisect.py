"""The first commit at which a line fails, in a repository with a history that is known."""

import subprocess

import pytest

from gptq_fuzz.campaign.bisect import JUDGE, main

pytestmark = pytest.mark.turns(6)

LINE = "m1-n4-k4-b8-gall"
KERNEL = """
from gptq_fuzz.museum.parts import codes, dequantize, multiply, stored_zeros

def f(x, qweight, qzeros, scales, g_idx, bits):
    z = stored_zeros(qzeros, bits) + 1
    return multiply(x, dequantize(codes(qweight, bits), {zeros}, scales, g_idx))
"""
RIGHT, WRONG = KERNEL.format(zeros="z % 2**bits"), KERNEL.format(zeros="z")
COMMITS = {"first": RIGHT, "second": RIGHT, "third": WRONG}


def git(folder, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    ran = subprocess.run(
        ["git", "-C", folder, *who, *words], capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Started in a folder of it, with a change that nobody has committed."""
    folder = tmp_path / "sub"
    folder.mkdir()
    git(tmp_path, "init", "--quiet")
    for name, text in COMMITS.items():
        (folder / "mine.py").write_text(text + f"# {name}\n")
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "--quiet", "--message", name)
    (folder / "mine.py").write_text("# being edited")
    monkeypatch.chdir(folder)
    return tmp_path


def state(repository):
    asked = (("status", "--porcelain"), ("rev-parse", "HEAD"), ("worktree", "list"), ("branch",))
    return [git(repository, *words) for words in asked]


@pytest.mark.slow
def test_the_first_bad_commit_is_found_and_the_tree_stays_as_it_is(repository, capsys):
    before = state(repository)
    assert main([LINE, "--kernel", "mine.py:f", "--good", "HEAD~2"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert (said[0], said[-1]) == (git(repository, "rev-parse", "HEAD"), "third")
    assert state(repository) == before


@pytest.mark.slow
def test_what_is_said_of_the_ends_must_be_so(repository, capsys):
    assert main([LINE, "--kernel", "mine.py:f", "--good", "HEAD"]) == 4
    assert "fails" in capsys.readouterr().err
    assert main([LINE, "--kernel", "mine.py:f", "--good", "nosuch"]) == 4


@pytest.mark.parametrize(("status", "told"), [(0, 0), (1, 1), (2, 125), (4, 125), (139, 125)])
def test_a_commit_at_which_nothing_was_judged_is_skipped(status, told):
    ran = subprocess.run(["sh", "-c", JUDGE, "sh", "sh", "-c", f"exit {status}"], check=False)
    assert ran.returncode == told


def test_what_is_built_in_is_not_bisected():
    assert main([LINE, "--kernel", "triton", "--good", "HEAD"]) == 4
