"""compute-sanitizer is clean over the extension, and finds what is put into it on purpose."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.exllama.faults import copied
from tests.exllama.parts import build_or_skip

ROOT = Path(__file__).resolve().parents[2]
SEVERAL_WARPS = "m3-n40-k512-b4-g32-act-thd0-fused0"
SEVERAL_PARTS = "m3-n8-k8192-b4-gall-thd0"
FOUND = [
    # tool, fault ("": none), line, exit status
    ("memcheck", "column_guard_of_make_q4", "m1-n8-k64-b4-g32-thd0", 1),  # L-49
    ("racecheck", "barrier_before_sums_are_read", SEVERAL_WARPS, 1),  # L-47, AC-03
    ("synccheck", "barrier_in_a_branch", SEVERAL_WARPS, 1),  # L-48, AC-02
    ("initcheck", "parts_meet", SEVERAL_PARTS, 1),  # L-47, AC-01
    *((tool, "", SEVERAL_WARPS, 0) for tool in ("memcheck", "racecheck", "synccheck", "initcheck")),
    ("racecheck", "", "m9-n96-k64-b4-g16-act-thd1", 0),
    ("initcheck", "", SEVERAL_PARTS, 0),
]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("compute-sanitizer") is None, reason="no_compute_sanitizer"),
]


@pytest.mark.parametrize(("tool", "fault", "line", "status"), FOUND)
def test_a_sanitizer_finds_the_fault_and_nothing_else(tool, fault, line, status, tmp_path):
    build_or_skip("cuda")
    command = [sys.executable, "-m", "pytest", "--kernel", f"{copied(tmp_path, fault)}:FAULTY"]
    command += ["--case", line, "--sanitizer", tool, "--timeout", "300"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert run.returncode == status, run.stdout
    assert not fault or f"compute-sanitizer {tool}" in run.stdout
