"""Whole runs of the benchmarks on a pretended GPU: what is stored, compared, shown and refused."""

import json
from importlib.util import find_spec

import pytest

from gptq_fuzz._checkout import ROOT
from gptq_fuzz.bench.__main__ import main
from gptq_fuzz.bench.baseline import find
from tests.runs import QUIET, run_many

pytestmark = pytest.mark.turns(4, whole=True)

BENCH = str(ROOT / "gptq_fuzz" / "bench" / "bench_matmul.py")
KERNEL = str(ROOT / "gptq_fuzz" / "museum" / "correct" / "float32_weights.py:f")
WORDS = [
    *(*QUIET, "--device", "cpu", "--in-process", "--kernel", KERNEL),
    *("-k", "test_matmul and b4 and not act"),
]
ONE, SIXTEEN = "m1-n64-k128-b4-g128-randn", "m16-n64-k128-b4-g128-randn"
STORED, NO_FILES = "--benchmark-storage=stored", ("--bench-output", "none")
FIRST = "stored/Pretended_GPU-*/*/0001_first.json"
ANOTHER = {"seed": 5, "name": "Another GPU"}
HAS_MATPLOTLIB, HAS_PYGAL = (bool(find_spec(name)) for name in ("matplotlib", "pygal"))
HISTOGRAM = ["--benchmark-histogram=plots/times"] * HAS_PYGAL
RUNS = {
    # name: (the GPU, options beyond WORDS, exit status, words of the output)
    "first": (
        {"seed": 1},
        [
            *("--baseline", "none", "--bench-output", "results", STORED),
            *("--benchmark-save=first", *HISTOGRAM),
        ],
        0,
        ["2 points not gated: --baseline none", "wrote results/Pretended_GPU-"],
    ),
    "equal": (
        {"seed": 2},
        ["--baseline", "stored", STORED, "--benchmark-compare=0001", *NO_FILES],
        0,
        ["gate: 2 same", "(0001_first)", "(NOW)"],
    ),
    "slower": (
        {"seed": 3, "slower": {SIXTEEN: 1.15}},
        ["--baseline", FIRST, *NO_FILES],
        1,
        [
            *("1 failed, 1 passed", f"slower: {SIXTEEN} with {KERNEL} takes 1.1"),
            *("of cuBLAS's time, launch config C3", "of it, launch config C1"),
            "baseline stored/Pretended_GPU-",
        ],
    ),
    "faster": (
        {"seed": 4, "slower": {ONE: 0.8}},
        ["--baseline", FIRST, *NO_FILES],
        0,
        [
            *("gate: 1 faster, 1 same", f"faster: {ONE} with {KERNEL} takes 0."),
            *("launch config C1", "a change, or is less done than before?"),
        ],
    ),
    "no baseline of this GPU": (
        ANOTHER,
        ["--baseline", "stored", *NO_FILES],
        0,
        ["2 points not gated: no baseline for Another GPU in stored, only for Pretended GPU"],
    ),
    "a file of another GPU": (
        ANOTHER,
        ["--baseline", FIRST],
        4,
        ["is of Pretended GPU, this machine has Another GPU"],
    ),
    "no such baseline": (ANOTHER, ["--baseline", "no.json"], 4, ["no.json: there is no such file"]),
    "something else": (ANOTHER, ["--baseline", BENCH], 4, ["wanted what --benchmark-save wrote"]),
    "few pairs": (ANOTHER, ["--pairs", "19"], 4, ["--pairs 19: 20 or more can be compared"]),
    "no such commit": (ANOTHER, ["--against", "no-such-commit"], 4, ["--against no-such-commit: "]),
    "against itself": (
        None,
        ["--against", str(ROOT), *NO_FILES],
        0,
        [
            *(
                "2 passed",
                "not gated: times without a GPU are not compared",
                "| w4 | 128x64 | 16 |",
            ),
            f"| weights | K x N | M | torch us | {KERNEL} us | {KERNEL} speedup |",
        ],
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def runs(folder):
    """Name -> (exit status, all output); one process, started in `folder`."""
    questions = {name: (gpu, [BENCH, *WORDS, *words]) for name, (gpu, words, _, _) in RUNS.items()}
    return run_many(questions, "tests.bench.world", folder, TRITON_INTERPRET="1")


@pytest.mark.parametrize("name", RUNS)
def test_a_run_exits_and_prints_what_is_due(runs, name):
    status, output = runs[name]
    _, _, wanted, words = RUNS[name]
    assert status == wanted, output
    assert not [word for word in words if word not in output], output


def test_only_the_slower_point_is_named(runs):
    assert f"slower: {ONE}" not in runs["slower"][1]
    assert f"faster: {SIXTEEN}" not in runs["faster"][1]


def stored(folder):
    return json.loads(next(folder.glob(FIRST)).read_text())


def test_the_storage_holds_samples_facts_machine_and_ceilings(runs, folder):
    data = stored(folder)
    one = next(one for one in data["benchmarks"] if ONE in one["name"])
    facts = one["extra_info"]
    assert data["machine_info"]["gpu"] == "Pretended GPU"
    assert set(data["ceilings"]) == {"read_gb_per_s", "fp16_tflops", "launch_us"}
    assert one["stats"]["rounds"] == len(facts["ratios"]) == 25
    assert one["stats"]["median"] * 1e6 == pytest.approx(facts["us"], rel=1e-3)
    assert facts["config"] == "C1"
    assert facts["speedup_over_cublas"] == pytest.approx(0.6, rel=0.05)
    assert 0 <= facts["error_over_bound"] < 1
    assert 0 < facts["relative_error"] < 2**-11  # of float16, rounded once
    assert facts["peers"].keys() == {"cuBLAS fp16", "tinygemm"}


@pytest.mark.skipif(not HAS_PYGAL, reason="no_pygal")
def test_a_histogram_is_drawn_from_the_injected_samples(runs, folder):
    assert list((folder / "plots").glob("times*.svg"))


def test_what_is_written_can_be_a_baseline_and_be_drawn_again(runs, folder):
    data = next(folder.glob("results/Pretended_GPU-*/points.json"))
    baseline = find(data, stored(folder)["machine_info"])
    assert baseline.stored.keys() == {(KERNEL, ONE), (KERNEL, SIXTEEN)}
    assert main([str(data), "--output", str(folder / "again")]) == 0
    assert "| w4 | 128x64 | 1 |" in (folder / "again" / "table.md").read_text()


@pytest.mark.skipif(not HAS_MATPLOTLIB, reason="no_matplotlib")
def test_a_run_ends_with_a_picture(runs, folder):
    (picture,) = folder.glob("results/Pretended_GPU-*/w4.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
