"""The kernels under AddressSanitizer and UndefinedBehaviorSanitizer: `tox run -e sanitize`."""

import os

import pytest

from gptq_fuzz.adapters.exllama import EXLLAMA
from gptq_fuzz.case.corpus import our_corpus
from tests.host_build import problems, programs

pytestmark = programs.needs_compiler
SECONDS = float(os.environ.get("SANITIZE_SECONDS", "60"))  # of fuzzing
FIRST_SEED = 1
FLAGS = programs.SANITIZERS


@pytest.mark.parametrize("source", ["intrinsics.cu", "machine.cpp"])
def test_the_header_is_clean(built, source):
    ended = programs.run(built(source))
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_heap_overflow_of_one_element_is_found(built):
    ended = programs.run(built("runner.cu"), "fault", "heap")
    assert ended.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in ended.stderr
    assert "in heap_fault" in ended.stderr


def test_the_corpus_is_clean(built, tmp_path):
    count = problems.write_problems(tmp_path / "corpus", our_corpus(), EXLLAMA)
    ended = programs.run(built("runner.cu"), "check", tmp_path / "corpus")
    assert count > 0
    assert ended.stdout == f"{count} problems, 0 wrong\n", ended.stdout + ended.stderr


def test_fuzzing_is_clean(built):
    ended = programs.run(built("runner.cu"), "fuzz", SECONDS, FIRST_SEED)
    assert ended.returncode == 0, ended.stdout + ended.stderr
