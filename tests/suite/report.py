"""The end of a run: findings, a table per kernel, and the same as JSON."""

from __future__ import annotations

import importlib.metadata
import json
import os
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from . import verdict as kinds
from .coverage import all_pairs, axis_values
from .session import KernelUnderTest, Session

GATHERED = pytest.StashKey[list]()
MISSING_SHOWN = 8


def header(spec: str, kernel: KernelUnderTest) -> str:
    """`gptq-fuzz: triton on NVIDIA H200 (cuda:0, driver ...), torch ..., triton ..., compiled`"""
    about = kernel.worker.description
    place = about["place"] + (f", driver {about['driver']}" if about["driver"] else "")
    parts = [f"gptq-fuzz: {spec} on {about['device']} ({place})", f"torch {about['torch']}"]
    if about["triton"]:
        way = "interpreted" if about["interpreted"] else "compiled"
        parts.append(f"triton {about['triton']} {way}")
    if about["note"]:
        parts.append(f"not on a GPU: {about['note']}")
    return ", ".join(parts)


def left_out(reasons: dict[str, str]) -> list[str]:
    """`gptq-fuzz: exllama skipped: the ExLlama extension needs ...`, a line for each."""
    return [f"gptq-fuzz: {spec} skipped: {why.splitlines()[0]}" for spec, why in reasons.items()]


def namesake() -> list[str]:
    """A header line where another distribution called `kernels` is installed beside ours."""
    try:
        theirs = importlib.metadata.version("kernels")
    except importlib.metadata.PackageNotFoundError:
        return []
    return [f"gptq-fuzz: the distribution kernels {theirs} is installed; `import kernels` is ours"]


def to_json(session: Session) -> dict:
    """What a run learnt, as plain values."""
    return {
        "kernels": {spec: _kernel_json(kernel) for spec, kernel in session.kernels.items()},
        "findings": [finding.to_json() for finding in session.findings()],
        "texts": list(dict.fromkeys(finding.text() for finding in session.findings())),
        "complaints": session.complaints(),
        "left_out": session.left_out,
        "base_seed": session.base_seed,
    }


def _kernel_json(kernel: KernelUnderTest) -> dict:
    coverage, limits = kernel.coverage, kernel.limits
    about = kernel.worker.description
    return {
        "about": {key: value for key, value in about.items() if key != "limits"},
        "cases": coverage.judged,
        "verdicts": dict(coverage.verdicts),
        "skips": dict(coverage.skips),
        "values": {f"{axis}={value}": n for (axis, value), n in sorted(coverage.values.items())},
        "missing": coverage.missing_values(limits),
        "values_possible": sum(map(len, axis_values(limits).values())),
        "pair_share": coverage.pair_share(limits),
        "pairs_possible": len(all_pairs(limits)),
        "used": coverage.used,
        "used_by": coverage.used_by,
        "seconds": coverage.seconds,
        "restarts": max(kernel.worker.restarts, 0),
    }


def gather(config, data: dict) -> None:
    """Keep what one xdist worker sent."""
    config.stash.setdefault(GATHERED, []).append(data)


def merged(own: dict, config) -> dict:
    """One run out of what the xdist workers saw; counts add up, pairs are the best worker's."""
    for other in config.stash.get(GATHERED, []):
        for name in ("findings", "texts", "complaints"):
            own[name] = own[name] + [entry for entry in other[name] if entry not in own[name]]
        own["left_out"] |= other["left_out"]
        for spec, seen in other["kernels"].items():
            mine = own["kernels"].setdefault(spec, seen)
            if mine is not seen:
                _add(mine, seen)
    return own


def _add(mine: dict, seen: dict) -> None:
    for name in ("verdicts", "skips", "values"):
        for key, count in seen[name].items():
            mine[name][key] = mine[name].get(key, 0) + count
    mine["cases"] += seen["cases"]
    mine["seconds"] += seen["seconds"]
    mine["restarts"] += seen["restarts"]
    mine["missing"] = [value for value in mine["missing"] if value in seen["missing"]]
    mine["pair_share"] = max(mine["pair_share"], seen["pair_share"])
    if seen["used"] > mine["used"]:
        mine["used"], mine["used_by"] = seen["used"], seen["used_by"]


def write_json(path: Path, data: dict) -> None:
    """Write through a temporary file, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(data, indent=1))
    os.replace(temporary, path)


def write_summary(reporter, data: dict, session: Session) -> None:
    """The last lines of a run."""
    judged = {spec: seen for spec, seen in data["kernels"].items() if seen["verdicts"]}
    if data["texts"]:
        reporter.section("findings", red=True)
        for text in data["texts"]:
            reporter.write_line("\n" + text)
    for complaint in data["complaints"]:
        reporter.write_line(complaint, red=True)
    if judged:
        reporter.section("kernels under test")
        _write_table(reporter, judged)
    for line in left_out(data["left_out"]):
        reporter.write_line(line)
    asked = reporter.config.option.kernel or reporter.config.option.budget
    if asked and not any(seen["cases"] for seen in judged.values()):
        reporter.write_line("no case was judged: exit status 4", red=True)


def _write_table(reporter, judged: dict) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("kernel", "cases", "verdicts", "axis values", "pairs", "error / bound"):
        table.add_column(heading, overflow="fold")
    for spec, seen in judged.items():
        values = seen["values_possible"] - len(seen["missing"])
        table.add_row(
            spec,
            str(seen["cases"]),
            " ".join(f"{kind} {seen['verdicts'][kind]}" for kind in _ordered(seen["verdicts"])),
            f"{values} of {seen['values_possible']}",
            f"{seen['pair_share']:.0%} of {seen['pairs_possible']}",
            f"{seen['used']:.2f}",
        )
    console = Console(file=reporter._tw._file, width=max(reporter._tw.fullwidth, 100))
    console.print(table)
    for spec, seen in judged.items():
        _write_notes(reporter, spec, seen)


def _ordered(verdicts: dict) -> list[str]:
    return [kind for kind in reversed(kinds.KINDS) if verdicts.get(kind)]


def _write_notes(reporter, spec: str, seen: dict) -> None:
    fills = [f"{key[5:]} {n}" for key, n in seen["values"].items() if key.startswith("fill=")]
    reporter.write_line(f"{spec}: fills {', '.join(fills)}")
    for code, count in seen["skips"].items():
        reporter.write_line(f"{spec}: SKIPPED({code}) {count}")
    if seen["missing"]:
        shown = ", ".join(seen["missing"][:MISSING_SHOWN])
        more = len(seen["missing"]) - MISSING_SHOWN
        reporter.write_line(
            f"{spec}: not drawn: {shown}" + (f" and {more} more" if more > 0 else "")
        )
