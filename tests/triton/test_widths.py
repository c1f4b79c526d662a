"""Aligned kernels get their operands many bytes at a time: what their hints are there for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.turns(3)

ROOT = Path(__file__).resolve().parents[2]
HALF = 2  # bytes: an access of this width moves one element
# Kernel -> accesses of one half that it cannot do without.
SINGLE = {
    "matmul_248_kernel": 0,
    "transpose_matmul_248_kernel": 0,
    "matmul_248_kernel run128": 2,  # a scale, a column of each thread: before the loop and in it
    "transpose_matmul_248_kernel run128": 1,
    "few16": 1,  # a scale: each thread has one column
    "many32": 1,
    "many128": 0,
    "dense128x128": 0,
}
PROGRAM = """
import json, sys
from qualification.aot.variants import variants
from qualification.aot.widths import widths_of

found = {}
for variant in variants(["sm_90"]):
    kind = variant.aligned, variant.bits, variant.dtype, variant.scales_dtype
    name = variant.kernel + (variant.run > 1) * f" run{variant.run}"
    if kind == (True, 4, "f16", "sf16") and name in sys.argv[1:]:
        found.setdefault(name, variant)
print(json.dumps({kernel: widths_of(variant) for kernel, variant in found.items()}))
"""


@pytest.fixture(scope="module")
def found():
    """Kernel -> bytes of an access -> how many there are, for Hopper."""
    command = [sys.executable, "-c", PROGRAM, *SINGLE]
    environment = os.environ | {"TRITON_INTERPRET": "0"}  # an interpreter compiles nothing
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("kernel", SINGLE)
def test_no_half_of_an_aligned_operand_travels_alone(found, kernel):
    counts = {int(size): count for size, count in found[kernel].items()}
    assert counts.get(HALF, 0) <= SINGLE[kernel], counts
    assert max(counts) == 16, counts
