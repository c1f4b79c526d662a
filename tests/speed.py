"""How soon the suite tells of a faulty kernel, and how long a correct one keeps an engineer.

    python -m tests.speed [NAME ...] [--all] [--json FILE]

Runs `python -m pytest -x --kernel` over faulty kernels of the museum, one after the other (those
that the tests always run; all of them; or the named ones), then over the plain torch kernel to the
end. Seconds are counted from the end of pytest's collection, as `--json` of each run tells them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.museum.catalogue import ALWAYS, faulty

ROOT = Path(__file__).resolve().parents[1]
CORRECT = "torch"
COLUMNS = ("first_failure", "first_finding", "ended")  # of a kernel in the JSON of a run
PATIENCE = 900.0  # seconds for one run


def measured(spec: str) -> dict:
    """COLUMNS in seconds, each None if it did not come, and the verdicts of one run.

    Raises RuntimeError where the kernel cannot run.
    """
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "run.json")
        command = [sys.executable, "-m", "pytest", "-q", "-x", "--kernel", spec, f"--json={told}"]
        run = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        if not told.exists():
            raise RuntimeError(f"{' '.join(command)}:\n{run.stdout}{run.stderr}")
        (seen,) = json.loads(told.read_text())["kernels"].values()
    return {name: seen[name] for name in (*COLUMNS, "verdicts")}


def summary(runs: dict[str, dict]) -> dict[str, dict[str, float]]:
    """Median and worst of the first two COLUMNS over the runs that have them, and how many do."""
    columns = {
        name: [run[name] for run in runs.values() if run[name] is not None] for name in COLUMNS[:2]
    }
    return {
        name: {"median": statistics.median(times), "worst": max(times), "of": len(times)}
        for name, times in columns.items()
        if times
    }


def table_of(runs: dict[str, dict]) -> Table:
    """A row for each kernel, the slowest verdict last."""
    table = Table(box=None, pad_edge=False)
    for heading in ("kernel", "first failing verdict", "shrunk", "end of the run"):
        table.add_column(heading)
    for name, run in sorted(runs.items(), key=lambda item: item[1]["first_failure"] or 1e9):
        seconds = (run[column] for column in COLUMNS)
        table.add_row(name, *("none" if at is None else f"{at:.1f} s" for at in seconds))
    return table


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.speed")
    parser.add_argument("names", nargs="*", metavar="NAME", help="files of tests/museum/faulty")
    parser.add_argument("--all", action="store_true", help="every faulty kernel")
    parser.add_argument("--json", type=Path, metavar="FILE")
    option = parser.parse_args(arguments)
    wanted = set(option.names) or ALWAYS
    chosen = [e for e in faulty() if option.all or e.name in wanted]
    runs = {e.name: measured(e.spec) for e in track(chosen, "museum", console=Console(stderr=True))}
    correct = measured(CORRECT)
    figures = summary(runs)
    console = Console()
    console.print(table_of(runs | {f"{CORRECT} (correct)": correct}))
    for name, found in figures.items():
        console.print(f"{name}: median {found['median']:.1f} s, worst {found['worst']:.1f} s")
    if option.json:
        whole = {"runs": runs, "summary": figures, "correct": correct}
        option.json.write_text(json.dumps(whole, indent=1))
    missed = [name for name, run in runs.items() if run["first_failure"] is None]
    console.print(f"caught {len(runs) - len(missed)} of {len(runs)}", *missed)
    return int(bool(missed) or correct["first_failure"] is not None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
