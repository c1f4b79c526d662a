"""Faults put into the kernels on purpose are found: by corpus lines, on a GPU by sanitizers.

Where a pattern is no longer in the source, the fault has to be written anew.
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import settings

from gptq_fuzz.adapters.exllama import EXLLAMA, ORDERS
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.corpus import OURS, read_corpus
from gptq_fuzz.worker.supervisor import Launch, Worker
from kernels.exllama import build
from tests.exllama.parts import build_or_skip

pytestmark = [pytest.mark.slow, pytest.mark.turns(3)]
ROOT = Path(__file__).resolve().parents[2]
SUMS_ARE_READ = "    if (warp < adding) {"
# name: file, what stands there (once), what stands there instead
FAULTS = {
    # L-48 AC-02: sums are read before they are handed over
    "barrier_before_sums_are_read": (
        "multiply.cu",
        f"    __syncthreads();\n{SUMS_ARE_READ}",
        SUMS_ARE_READ,
    ),
    # L-48 AC-02: half of the warps wait for the others, which are past it
    "barrier_in_a_branch": (
        "multiply.cu",
        f"    __syncthreads();\n{SUMS_ARE_READ}",
        f"{SUMS_ARE_READ}\n      __syncthreads();",
    ),
    # L-48: or written over before they are read
    "barrier_after_sums_are_read": ("multiply.cu", "    __syncthreads();\n  }\n}", "  }\n}"),
    # AC-03: reconstructed weights are stored before they are there
    "barrier_in_reconstruction": ("reconstruct.cu", "  __syncthreads();\n", ""),
    # L-49
    "column_guard_of_the_result": ("multiply.cu", "column >= p.matrix.n", "column > p.matrix.n"),
    # L-51
    "column_guard_of_the_weights": ("reconstruct.cu", "column >= matrix.n", "column > matrix.n"),
    # L-49
    "column_guard_of_make_q4": (
        "rearrange.cu",
        "rows.rows() || column >= matrix.n",
        "rows.rows() || column > matrix.n",
    ),
    # MK-14
    "last_row_not_written": ("multiply.cu", "(row >= p.x.rows ||", "(row >= p.x.rows - 1 ||"),
    # L-52
    "last_column_block_not_written": (
        "multiply.cu",
        "{p.matrix.column_blocks * row_blocks,",
        "{(p.matrix.n / TILE_COLUMNS + (p.matrix.n < TILE_COLUMNS)) * row_blocks,",
    ),
    # L-50
    "remap_off_by_one": ("column_remap.cu", "row_of[element % k]", "row_of[(element + 1) % k]"),
    "remap_in_the_kernel": ("multiply.cu", "x.gathered[first + i]", "x.gathered[first]"),
    "remap_in_reconstruction": (
        "reconstruct.cu",
        "matrix.row_of ? matrix.row_of[sorted] : sorted",
        "sorted",
    ),
    # L-47
    "sums_not_zeroed": (
        "multiply.cu",
        "float sums[ROW_TILES][FRAGMENTS][4] = {};",
        "float sums[ROW_TILES][FRAGMENTS][4];",
    ),
    "sum_of_parts_not_zeroed": ("column_remap.cu", "float sum = 0.0f;", "float sum;"),
    # L-47: each part of K writes where the first does
    "parts_meet": ("multiply.cu", "p.partial[blockIdx.y * ", "p.partial[0 * "),
}
PLUGIN = """
from pathlib import Path
from gptq_fuzz.kernels.exllama import build
build.SOURCES = Path({folder!r})
from gptq_fuzz.adapters.exllama import EXLLAMA as FAULTY
"""
LARGE = 2**16  # elements of weights and x: lines beyond are left to the other tests
# One of each kind always runs; a build takes seconds. The nightly profile runs all.
ALWAYS = [
    "barrier_before_sums_are_read",
    "column_guard_of_the_result",
    "last_row_not_written",
    "remap_off_by_one",
    "sums_not_zeroed",
]
CHOSEN = list(FAULTS) if settings().max_examples > 1000 else ALWAYS
SEVERAL_WARPS = "m3-n40-k480-b4-g24-act-thd0-fused0"  # by multiply.cu on any GPU
SEVERAL_PARTS = "m3-n8-k8184-b4-gall-thd0"
FOUND = [
    # tool, fault ("": none), line, exit status
    ("memcheck", "column_guard_of_make_q4", "m1-n8-k64-b4-g16-thd0", 1),  # L-49
    ("racecheck", "barrier_before_sums_are_read", SEVERAL_WARPS, 1),  # L-47, AC-03
    ("synccheck", "barrier_in_a_branch", SEVERAL_WARPS, 1),  # L-48, AC-02
    ("initcheck", "parts_meet", SEVERAL_PARTS, 1),  # L-47, AC-01
    *((tool, "", SEVERAL_WARPS, 0) for tool in ("memcheck", "racecheck", "synccheck", "initcheck")),
    ("racecheck", "", "m9-n96-k64-b4-g16-act-thd1", 0),
    ("initcheck", "", SEVERAL_PARTS, 0),
]


def copied(folder, name):
    """A plug-in file in `folder` whose attribute FAULTY has fault `name`, none for ""."""
    sources = folder / "ext"
    shutil.copytree(build.SOURCES, sources)
    if name:
        file, right, wrong = FAULTS[name]
        path = sources / file
        path.write_text(path.read_text().replace(right, wrong))
    plugin = sources / "plugin.py"
    plugin.write_text(PLUGIN.format(folder=str(sources)))
    return plugin


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """Name of a fault -> a plug-in file whose FAULTY has it; "" -> one without. All are built."""
    build_or_skip("cpu")
    plugins = {name: copied(tmp_path_factory.mktemp("faulty"), name) for name in ("", *CHOSEN)}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        recipe = build.host_recipe()
        list(pool.map(lambda plugin: build.build(recipe, plugin.parent), plugins.values()))
    return plugins


def lines():
    """Lines of the extension's own corpus that take no time, in each order of threads."""
    for line in read_corpus(OURS / "exllama.txt"):
        case = Case.parse(line, EXLLAMA.limits.tokens)
        if not case.bad and case.k * (case.n + case.m) <= LARGE:
            yield from (case.replace(seed=seed) for seed in range(len(ORDERS)))


def first_failure(plugin: Path):
    """The first verdict that is none of a right kernel, or None."""
    worker = Worker(Launch(f"{plugin}:FAULTY", str(plugin.parent), device="cpu"))
    try:
        verdicts = (worker.ask(case, ()) for case in lines())
        return next((verdict for verdict in verdicts if not verdict.ok), None)
    finally:
        worker.stop()


@pytest.mark.parametrize("name", FAULTS)
def test_the_place_of_a_fault_is_still_there(name):
    file, right, wrong = FAULTS[name]
    assert (build.SOURCES / file).read_text().count(right) == 1
    assert wrong != right


@pytest.mark.bug("L-47 L-48 L-49 L-50 AC-01 AC-02")
@pytest.mark.parametrize("name", CHOSEN)
def test_a_fault_is_found(copies, name):
    found = first_failure(copies[name])
    assert found is not None
    assert found.kind in (kinds.WRONG, kinds.RAISED, kinds.NONDETERMINISTIC), found


def test_nothing_is_found_without_one(copies):
    assert first_failure(copies[""]) is None


@pytest.mark.gpu
@pytest.mark.skipif(shutil.which("compute-sanitizer") is None, reason="no_compute_sanitizer")
@pytest.mark.parametrize(("tool", "fault", "line", "status"), FOUND)
def test_a_sanitizer_finds_the_fault_and_nothing_else(tool, fault, line, status, tmp_path):
    build_or_skip("cuda")
    command = [sys.executable, "-m", "pytest", "--kernel", f"{copied(tmp_path, fault)}:FAULTY"]
    command += ["--case", line, "--sanitizer", tool, "--timeout", "300"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert run.returncode == status, run.stdout
    assert not fault or f"compute-sanitizer {tool}" in run.stdout
