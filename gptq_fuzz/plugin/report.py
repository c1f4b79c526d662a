"""The end of a run: findings, a table per kernel, and the same as JSON."""

from __future__ import annotations

import importlib.metadata
import json
import math
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.atomic import write_atomically
from gptq_fuzz.case.known import complaint
from gptq_fuzz.plugin.once import of_each, title_of
from gptq_fuzz.plugin.options import asked_of
from gptq_fuzz.plugin.session import Session
from gptq_fuzz.search.findings import unshrunk
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.pairwise import all_together, possible_values

GATHERED = pytest.StashKey[list]()
MISSING_SHOWN = 8
FOR_MEMORY = ("out_of_memory", "too_large_", "cannot_reserve_")  # how codes of skips begin
KEYS = {  # lists of a report, and what is the same in entries of which one is kept
    "findings": lambda finding: (finding["kernel"], finding["reproduce"] or finding["line"]),
    "texts": title_of,
}


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
    findings = of_each(session.findings(), lambda finding: finding.key)
    return {
        "kernels": {
            spec: _kernel_json(kernel) | _speed(kernel, session)
            for spec, kernel in session.kernels.items()
        },
        "findings": [finding.to_json() for finding in findings],
        "texts": [finding.text() for finding in findings] + _unfinished(session),
        "waivers": [[one.text, one.failed, one.passed] for one in session.waivers],
        "left_out": session.left_out,
        "base_seed": session.base_seed,
    }


def _unfinished(session: Session) -> list[str]:
    """Failures that were being looked at when a signal came."""
    kernels = session.kernels.values() if session.was_interrupted else ()
    return [unshrunk(kernel) for kernel in kernels if kernel.unreported]


def _kernel_json(kernel: KernelUnderTest) -> dict:
    coverage = kernel.coverage
    axes = possible_values(kernel.limits)
    pairs, triples = (all_together(kernel.limits, strength) for strength in (2, 3))
    about = kernel.worker.description
    return {
        "about": {key: value for key, value in about.items() if key != "limits"},
        "cases": coverage.judged,
        "verdicts": dict(coverage.verdicts),
        "skips": dict(coverage.skips),
        "values": {f"{axis}={value}": n for (axis, value), n in sorted(coverage.values.items())},
        "missing": coverage.missing_values(axes),
        "values_possible": sum(map(len, axes.values())),
        "pairs_missing": coverage.missing(pairs),
        "pairs_possible": len(pairs),
        "triples_missing": coverage.missing(triples),
        "triples_possible": len(triples),
        "aimed": {str(at): list(map(str, cases)) for at, cases in kernel.aimed.items()},
        "specialisations": sorted(kernel.worker.compiled),
        "used": coverage.used,
        "used_by_fill": coverage.used_by_fill,
        "used_by": str(coverage.used_by or ""),
        "seconds": coverage.seconds,
        "fingerprints": {str(case): found for case, found in kernel.fingerprints.items()},
        "series": {name: tally.to_json() for name, tally in kernel.tallies.items()},
        "first_verdict": kernel.first_failing,
        "restarts": max(kernel.worker.restarts, 0),
    }


def _speed(kernel: KernelUnderTest, session: Session) -> dict[str, float | None]:
    """Seconds since the end of collection: how soon an engineer knows."""
    return {
        "first_failure": session.since_collection(kernel.failed_at),
        "first_finding": session.since_collection(kernel.found_at),
        "ended": session.since_collection(time.monotonic()),
    }


def gather(config, data: dict) -> None:
    """Keep what one xdist worker sent."""
    config.stash.setdefault(GATHERED, []).append(data)


def merged(own: dict, config) -> dict:
    """One run out of what the xdist workers saw; counts add up."""
    for other in config.stash.get(GATHERED, []):
        for name, key in KEYS.items():
            own[name] = of_each(own[name] + other[name], key)
        own["left_out"] |= other["left_out"]
        own["waivers"] = [
            [text, failed + more[1], passed + more[2]]
            for (text, failed, passed), more in zip(own["waivers"], other["waivers"], strict=True)
        ]
        for spec, seen in other["kernels"].items():
            mine = own["kernels"].setdefault(spec, seen)
            if mine is not seen:
                _add(mine, seen)
    own["complaints"] = [why for waiver in own["waivers"] if (why := complaint(*waiver))]
    return own


def has_judged(data: dict) -> bool:
    """Whether any case was, or any fingerprint taken."""
    return any(
        seen["cases"] or any(seen["fingerprints"].values()) for seen in data["kernels"].values()
    )


def shortfall(data: dict) -> str:
    """Why what was judged is too little for a success; "" where it is enough.

    What a kernel leaves out by its own `skip`, or a machine for want of a GPU, is.
    """
    if not has_judged(data):
        return "no case was judged"
    for spec, seen in data["kernels"].items():
        lacking = sum(n for code, n in seen["skips"].items() if code.startswith(FOR_MEMORY))
        if lacking > seen["cases"]:
            return f"{spec}: {lacking} cases skipped for want of memory, {seen['cases']} judged"
    return ""


def _add(mine: dict, seen: dict) -> None:
    for name in ("verdicts", "skips", "values"):
        for key, count in seen[name].items():
            mine[name][key] = mine[name].get(key, 0) + count
    mine["fingerprints"] |= seen["fingerprints"]
    for name, tally in seen["series"].items():
        mine["series"][name] = _sum_of(mine["series"].get(name), tally)
    mine["cases"] += seen["cases"]
    mine["seconds"] += seen["seconds"]
    mine["restarts"] += seen["restarts"]
    mine["first_verdict"] = min(mine, seen, key=_seconds_to_failure)["first_verdict"]
    for name, choose in (("first_failure", min), ("first_finding", min), ("ended", max)):
        times = [each[name] for each in (mine, seen) if each[name] is not None]
        mine[name] = choose(times, default=None)
    for name in ("missing", "pairs_missing", "triples_missing"):
        mine[name] = sorted(set(mine[name]) & set(seen[name]))
    mine["specialisations"] = sorted({*mine["specialisations"], *seen["specialisations"]})
    for fill, counts in seen["used_by_fill"].items():
        others = mine["used_by_fill"].get(fill, [0] * len(counts))
        mine["used_by_fill"][fill] = [sum(pair) for pair in zip(counts, others, strict=True)]
    if seen["used"] > mine["used"]:
        mine["used"], mine["used_by"] = seen["used"], seen["used_by"]


def _sum_of(mine: dict | None, seen: dict) -> dict:
    """A series that tests in several workers have judged, or one of them."""
    if mine is None:
        return seen
    counted = {name: mine[name] + seen[name] for name in ("planned", "judged", "seconds")}
    left_out = Counter(mine["left_out"]) + Counter(seen["left_out"])
    unseen = sorted(set(mine["unseen"]) & set(seen["unseen"]))
    return counted | {"unseen": unseen, "left_out": dict(left_out)}


def _seconds_to_failure(seen: dict) -> float:
    return math.inf if seen["first_failure"] is None else seen["first_failure"]


def write_json(path: Path, data: dict) -> str:
    """Why it could not be written, "" where it was; a device or a pipe is written to as it is."""
    try:
        write_report(path, json.dumps(data, indent=1).encode())
    except OSError as problem:
        return f"--json={path}: {problem.strerror}"
    return ""


def write_report(path: Path, content: bytes) -> None:
    """A file whole or not at all; a device or a pipe is written to as it is."""
    if path.exists() and not path.is_file():
        path.write_bytes(content)
    else:
        write_atomically(path, content)


def write_summary(reporter, session: Session) -> None:
    """The last lines of a run."""
    data, asked = session.report, asked_of(reporter.config)
    judged = {spec: seen for spec, seen in data["kernels"].items() if seen["verdicts"]}
    for spec, seen in data["kernels"].items():
        _write_fingerprints(reporter, spec, seen["fingerprints"])
    once = reporter.config.pluginmanager.get_plugin("gptq_fuzz_once")
    if texts := once.left(data["texts"]):
        reporter.section("findings", red=True)
        for text in texts:
            reporter.write_line("\n" + text)
    for text in data["complaints"]:
        reporter.write_line(text, red=True)
    if judged:
        reporter.section("kernels under test")
        _write_table(
            reporter, judged, is_about_a_space=not (asked.case or asked.steps or asked.problem)
        )
    for line in left_out(data["left_out"]):
        reporter.write_line(line)
    if session.unwritten:
        reporter.write_line(session.unwritten, red=True)
    if session.shortfall:
        reporter.write_line(f"{session.shortfall}: exit status 4", red=True)


def _write_fingerprints(reporter, spec: str, prints: dict[str, dict[str, str]]) -> None:
    """What all lines have in common once, then what each line has of its own."""
    settled = [found for found in prints.values() if found]
    if not settled:
        return
    common = {
        field: value
        for field, value in settled[0].items()
        if all(found.get(field) == value for found in settled)
    }
    reporter.section(f"fingerprint of {spec}")
    for field, value in common.items():
        reporter.write_line(f"{field}: {value}")
    for line, found in prints.items():
        own = [f"{field} {value}" for field, value in found.items() if field not in common]
        reporter.write_line(f"{line}: {', '.join(own) or ('as above' if found else 'none')}")


def _write_table(reporter, judged: dict, is_about_a_space: bool) -> None:
    """A row for each kernel; what share of a space was judged only where one was drawn from."""
    table = Table(box=None, pad_edge=False)
    space = ("axis values", "pairs", "triples") if is_about_a_space else ()
    for heading in ("kernel", "cases", "verdicts", *space, "error / bound"):
        table.add_column(heading, overflow="fold")
    for spec, seen in judged.items():
        verdicts = " ".join(
            f"{kind} {seen['verdicts'][kind]}" for kind in _ordered(seen["verdicts"])
        )
        covered = _covered(seen) if is_about_a_space else ()
        table.add_row(Text(spec), str(seen["cases"]), verdicts, *covered, in_figures(seen["used"]))
    console = Console(file=reporter._tw._file, width=max(reporter._tw.fullwidth, 100))
    console.print(table)
    for spec, seen in judged.items():
        _write_notes(reporter, spec, seen, is_about_a_space)


def in_figures(used: float) -> str:
    """`0.15`, and `5e+33` where that would be thirty digits."""
    return f"{used:.2f}" if used < 100 else f"{used:.3g}"


def _covered(seen: dict) -> list[str]:
    """`113 of 115`, `90.8% of 6063`: of values, pairs and triples."""
    values = f"{seen['values_possible'] - len(seen['missing'])} of {seen['values_possible']}"
    sizes = (
        (seen[f"{what}_possible"], len(seen[f"{what}_missing"])) for what in ("pairs", "triples")
    )
    return [values, *(share(possible - missing, possible) for possible, missing in sizes)]


def _ordered(verdicts: dict) -> list[str]:
    return [kind for kind in reversed(kinds.KINDS) if verdicts.get(kind)]


def _write_notes(reporter, spec: str, seen: dict, is_about_a_space: bool) -> None:
    fills = [f"{key[5:]} {n}" for key, n in seen["values"].items() if key.startswith("fill=")]
    if fills and is_about_a_space:
        reporter.write_line(f"{spec}: fills {', '.join(fills)}")
    for line in _series_in_words(seen["series"]):
        reporter.write_line(f"{spec}: {line}")
    for code, count in seen["skips"].items():
        reporter.write_line(f"{spec}: SKIPPED({code}) {count}")
    if seen["first_failure"] is not None:
        shrunk = seen["first_finding"]
        found = f", found and shrunk after {shrunk:.1f} s" if shrunk is not None else ""
        reporter.write_line(
            f"{spec}: first failing verdict after {seen['first_failure']:.1f} s{found}"
        )
    if seen["specialisations"]:
        reporter.write_line(f"{spec}: compiled {compiled_in_words(seen['specialisations'])}")
    for what, missing in (("values", seen["missing"]), ("pairs", _beyond(seen))):
        if missing and fills and is_about_a_space:
            shown = ", ".join(missing[:MISSING_SHOWN])
            more = len(missing) - MISSING_SHOWN
            reporter.write_line(
                f"{spec}: {what} not judged: {shown}" + (f" and {more} more" if more > 0 else "")
            )


def _series_in_words(series: dict[str, dict]) -> list[str]:
    """`judged M 682 of 682, K 300 of 589 (no time 289)`, and what no case of a series was about."""
    parts, lines = [], []
    for name, seen in series.items():
        reasons = ", ".join(f"{why} {count}" for why, count in seen["left_out"].items())
        if seen["planned"]:
            left_out = f" ({reasons})" if reasons else ""
            parts.append(f"{name} {seen['judged']} of {seen['planned']}{left_out}")
        if seen["unseen"]:
            more = len(seen["unseen"]) - MISSING_SHOWN
            shown = ", ".join(seen["unseen"][:MISSING_SHOWN])
            lines.append(f"{name} not judged: {shown}" + (f" and {more} more" if more > 0 else ""))
    return [f"judged {', '.join(parts)}"] * bool(parts) + lines


def _beyond(seen: dict) -> list[str]:
    """The missing pairs of two values that were judged, each with others."""
    missing = set(seen["missing"])
    return [pair for pair in seen["pairs_missing"] if not missing & set(pair.split(" with "))]


def share(some: int, whole: int) -> str:
    """`99.9% of 2139`; all of them is 100% and nothing else is."""
    share = 100.0 * some / whole if whole else 100.0
    return f"{'100' if some == whole else format(min(share, 99.9), '.1f')}% of {whole}"


def compiled_in_words(binaries: list[str]) -> str:
    """`12 specialisations of 2 kernels, 8 launch configs`"""
    configs = {
        (text.split("[")[0], *re.findall(r"num_(?:warps|stages)=\d+|BLOCK\w*=\d+", text))
        for text in binaries
    }
    kernels = len({kernel for kernel, *_ in configs})
    return f"{len(binaries)} specialisations of {kernels} kernels, {len(configs)} launch configs"
