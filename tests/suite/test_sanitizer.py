"""`--sanitizer`: compute-sanitizer sees what no red zone can, and leaves our kernels alone."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAULTY = "gptq_fuzz/museum/gpu/unmasked_tail.py:f"
LINE = "m1-n4-k4-b8-gall"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(shutil.which("compute-sanitizer") is None, reason="no_compute_sanitizer"),
]


def memcheck(kernel: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", "--kernel", kernel, "--case", LINE]
    command += ["--sanitizer", "memcheck", "--timeout", "200"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)


@pytest.mark.bug("MK-04 L-04")
def test_memcheck_reports_an_unmasked_tail():
    """The result is right, no red zone is written; only the read is wrong."""
    run = memcheck(FAULTY)
    assert run.returncode == 1, run.stdout
    assert "OUT_OF_BOUNDS: compute-sanitizer memcheck" in run.stdout


def test_memcheck_is_clean_on_the_control():
    run = memcheck("torch")
    assert run.returncode == 0, run.stdout
