"""What an earlier run stored, to compare this one with: pytest-benchmark's JSON, read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from gptq_fuzz.bench.machine import PARTS


class WrongBaseline(Exception):
    """A baseline that was asked for and cannot serve; the message says why."""


class Stored(NamedTuple):
    """One point of a baseline: times over cuBLAS's, microseconds, and the config behind them."""

    ratios: list[float]
    microseconds: float
    config: str


class Baseline(NamedTuple):
    """A file, the machine and commit that it is from, and its points by (kernel, line)."""

    path: Path
    about: dict[str, str]
    commit: str
    stored: dict[tuple[str, str], Stored]

    def describe(self) -> str:
        """`benchmarks/.../0001_x.json (NVIDIA H200, driver ..., commit 0123456789ab)`"""
        versions = [f"{name} {self.about[name]}" for name in PARTS[1:]]
        parts = [self.about["gpu"], *versions, f"commit {self.commit}"]
        return f"{self.path} ({', '.join(parts)})"


def find(wanted: Path, about: dict[str, str]) -> Baseline | str:
    """The baseline for this machine, or why there is none.

    A file has to be one: WrongBaseline else. In a folder the newest of the GPU's model is taken,
    those of the same driver, torch and triton first.
    """
    if not wanted.is_dir():
        return _named(wanted, about)
    found = [one for path in sorted(wanted.rglob("*.json")) if (one := _read(path))]
    fitting = [one for one in found if one[0].about["gpu"] == about["gpu"]]
    if not fitting:
        others = sorted({one[0].about["gpu"] for one in found})
        there_are = f"only for {', '.join(others)}" if others else "none at all"
        return f"no baseline for {about['gpu']} in {wanted}, {there_are}"
    return max(fitting, key=lambda one: (one[0].about == about, one[1]))[0]


def _named(path: Path, about: dict[str, str]) -> Baseline:
    if not path.is_file():
        raise WrongBaseline(f"--baseline {path}: there is no such file or folder")
    read = _read(path)
    if read is None:
        raise WrongBaseline(f"--baseline {path}: wanted what --benchmark-save wrote, with a GPU")
    if read[0].about["gpu"] != about["gpu"]:
        theirs = read[0].about["gpu"]
        raise WrongBaseline(f"--baseline {path} is of {theirs}, this machine has {about['gpu']}")
    return read[0]


def _read(path: Path) -> tuple[Baseline, str] | None:
    """(baseline, when it was written); None for a file of something else."""
    try:
        data = json.loads(path.read_text())
        about = {name: data["machine_info"][name] for name in PARTS}
        facts = [one["extra_info"] for one in data["benchmarks"]]
        stored = {
            (one["kernel"], one["case"]): Stored(one["ratios"], one["us"], one["config"])
            for one in facts
            if "ratios" in one
        }
        commit = str(data["commit_info"].get("id"))[:12]
        return Baseline(path, about, commit, stored), data["datetime"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
