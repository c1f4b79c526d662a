"""The command: exhibits in parallel, those not recorded yet, then the table."""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gptq_fuzz.museum.catalogue import Exhibit, faulty
from qualification.museum.record import ROOT, Record, digest, record
from qualification.museum.table import README, TABLE, readme, render

STATE = ROOT / "benchmarks" / "museum.json"
VERSION = 1


def main(argv: list[str]) -> int:
    """0 where all were caught that can be met, 1 otherwise."""
    asked = _parse(argv)
    exhibits = [exhibit for exhibit in faulty() if not asked.names or exhibit.name in asked.names]
    console = Console(soft_wrap=True, highlight=False)
    state = read(asked.state)
    due = [e for e in exhibits if e.name not in state or state[e.name].digest != digest(e)]
    _record_all(due, state, asked, console)
    shown = known_of(state)
    text = render(shown)
    if asked.state == STATE:
        TABLE.write_text(text)
        README.write_text(readme(README.read_text(), shown))
    console.print(text, markup=False)
    missed = [e.name for e, made in shown.items() if missed_now(e, made)]
    console.print(f"not caught: {', '.join(missed) or 'none'}")
    return int(bool(missed))


def missed_now(exhibit: Exhibit, made: Record) -> bool:
    """It was judged, and not found though it can be met."""
    return bool(made.digest and not made.caught and not exhibit.missed)


def known_of(state: dict[str, Record]) -> dict[Exhibit, Record]:
    """Every exhibit, and what is recorded of it."""
    return {exhibit: state.get(exhibit.name, Record("")) for exhibit in faulty()}


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m qualification.museum")
    parser.add_argument("names", nargs="*", help="exhibits (all)")
    parser.add_argument("--state", type=Path, default=STATE, help="what is known (%(default)s)")
    cores = os.cpu_count() or 1
    parser.add_argument("--jobs", type=int, default=cores, help="side by side (%(default)s)")
    return parser.parse_args(argv)


def _record_all(due: list[Exhibit], state: dict, asked, console: Console) -> None:
    columns = (TextColumn("museum"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=console, disable=not console.is_terminal)
    with bar, ThreadPoolExecutor(asked.jobs) as pool:
        task = bar.add_task("museum", total=len(due))
        running = {pool.submit(record, exhibit): exhibit for exhibit in due}
        for done in as_completed(running):
            name = running[done].name
            state[name] = done.result()
            save(asked.state, state)
            bar.advance(task)
            if not console.is_terminal:
                console.print(f"museum: {name}: {state[name].stage or 'not caught'}")


def read(path: Path) -> dict[str, Record]:
    """Name -> what is known of it."""
    if not path.is_file():
        return {}
    data = json.loads(path.read_text())
    if data.get("version") != VERSION:
        raise ValueError(f"{path}: wanted version {VERSION}, got {data.get('version')}")
    return {name: Record(**known) for name, known in data["exhibits"].items()}


def save(path: Path, state: dict[str, Record]) -> None:
    """Rewrite the file as a whole, so that a run may be ended at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    exhibits = {name: made.to_json() for name, made in sorted(state.items())}
    fresh.write_text(json.dumps({"version": VERSION, "exhibits": exhibits}, indent=1))
    os.replace(fresh, path)
