"""The end of a run of the benchmarks: the table, what got slower or faster, files and pictures."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from gptq_fuzz.bench import gate
from gptq_fuzz.bench.pictures import draw
from gptq_fuzz.bench.record import points_of
from gptq_fuzz.bench.run import Run
from gptq_fuzz.bench.table import NO_GPU, table


def files(data: dict, folder: Path) -> tuple[list[Path], str]:
    """(what was written to `folder`, why there are no pictures) for pytest-benchmark's JSON.

    `points.json` is the data as they came, table.md the table, and a picture for each kind of
    weights.
    """
    facts, gpu = points_of(data), data["machine_info"]["gpu"]
    if not facts:
        return [], ""
    folder.mkdir(parents=True, exist_ok=True)
    points, text = folder / "points.json", folder / "table.md"
    points.write_text(json.dumps(data, indent=1, default=repr))
    text.write_text(table(facts, gpu))
    if gpu == NO_GPU:
        return [points, text], "they show shares of what a GPU can do"
    try:
        return [points, text, *draw(facts, gpu, folder)], ""
    except ImportError as problem:
        return [points, text], f"{problem}; elsewhere: python -m gptq_fuzz.bench {points}"


def write(reporter, run: Run) -> None:
    """What the terminal shows."""
    if not run.facts:
        return
    reporter.section("gptq-fuzz benchmarks")
    ceilings = run.stopwatch.ceilings if run.device.is_gpu else None
    for line in [", ".join(f"{name} {value}" for name, value in run.about.items())]:
        reporter.write_line(line)
    if ceilings:
        reporter.write_line(
            f"ceilings: {ceilings.read_gb_per_s:.0f} GB/s reading, {ceilings.fp16_tflops:.0f} "
            f"TFLOP/s in a float16 product, {ceilings.launch_us:.1f} us for an empty kernel"
        )
    reporter.write_line(table(run.facts, run.about["gpu"]).rstrip())
    for name, reason in run.left_out.items():
        reporter.write_line(f"{name} left out: {reason}")
    for line in gate_lines(run):
        reporter.write_line(line)


def gate_lines(run: Run) -> list[str]:
    """A count of each kind, why points were not compared, and the text of each change."""
    by_kind, reasons, texts = defaultdict(int), defaultdict(int), []
    for _, _, (judgement, text) in run.gated:
        by_kind[judgement.kind] += 1
        if judgement.kind == gate.NOT_GATED:
            reasons[text] += 1
        elif judgement.kind != gate.SAME:
            texts += text.splitlines()
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(by_kind.items()))
    lines = [f"gate: {counts}"] if counts else []
    lines += [f"gate: {count} points not gated: {reason}" for reason, count in reasons.items()]
    return lines + texts
