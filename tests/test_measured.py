"""What was measured is of the kernels as they are: binaries in tables, plans of timed points."""

import json
from pathlib import Path

import pytest

import kernels.grouped_plan  # noqa: F401 - that the plans are of

from .aot.architectures import ARCHITECTURES
from .aot.table import read
from .aot.variants import variants
from .bench.launched import plan_of
from .suite.case import Case

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
BASELINES = sorted(BENCHMARKS.glob("NVIDIA_H200-*/*.json"))
PROCESSORS = 132  # of an H200


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_tables_name_every_binary(arch):
    told = "write them anew: python -m tests.aot --update"
    assert list(read(arch).lines) == [str(variant) for variant in variants([arch])], told


@pytest.mark.parametrize("path", BASELINES, ids=lambda path: path.stem)
def test_a_timed_point_would_be_computed_as_it_was(path):
    """A baseline says nothing of another plan: what changes a plan is measured anew."""
    points = [point["extra_info"] for point in json.loads(path.read_text())["benchmarks"]]
    ours = {point["case"]: point["config"] for point in points if point["kernel"] == "triton"}
    assert ours
    now = {line: plan_of(Case.parse(line), PROCESSORS) for line in ours}
    assert now == ours
