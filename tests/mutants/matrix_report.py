"""What `--matrix` says: the table as text, JSON and a picture, and what each oracle sees alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .matrix import Row

SHOWN = 4  # rows that only one oracle sees, named in the summary
INCHES_PER_ROW, INCHES_PER_ORACLE = 0.13, 0.32


def groups(rows: list[Row]) -> dict[str, list[str]]:
    """Oracles that stand beside each other: fills, relations and other checks, files of tests."""
    from tests.suite.case import FILLS

    seen = list(dict.fromkeys(kill.oracle for row in rows for kill in row.kills))
    files = sorted(name for name in seen if name.startswith("tests/"))
    return {
        "fill": [name for name in FILLS if name in seen],
        "check": [name for name in CHECKS if name in seen],
        "tests": files,
    }


CHECKS = (
    "repeat", "decoy", "row alone", "contiguous", "strided", "rows permuted", "columns split",
    "halved", "other format", "group named", "reloaded", "other config", "refusals", "import",
)  # fmt: skip


def alone(rows: list[Row], names: list[str], of: Callable[[Row], set[str]]) -> dict[str, list[Row]]:
    """Name -> the rows that only this one of `names` sees."""
    found = {name: [] for name in names}
    for row in rows:
        seen = of(row) & set(names)
        if len(seen) == 1:
            found[seen.pop()].append(row)
    return found


def verdicts_of(row: Row) -> set[str]:
    return {kill.verdict for kill in row.kills if not kill.oracle.startswith("tests/")}


def write(console: Console, rows: list[Row], folder: Path) -> None:
    """The summary to the console; all of it to matrix.txt, matrix.json and matrix.png."""
    folder.mkdir(parents=True, exist_ok=True)
    console.print(f"matrix: {len(rows)} mutants and museum pieces, {_caught(rows)} seen")
    for title, names in groups(rows).items():
        console.print(_summary(title, names, rows, lambda row: row.oracles))
    kinds = sorted(set().union(*map(verdicts_of, rows)))
    console.print(_summary("verdict", kinds, rows, verdicts_of))
    with (folder / "matrix.txt").open("w", encoding="utf-8") as file:
        Console(file=file, width=200).print(_table(rows))
    text = json.dumps([asdict(row) for row in rows], indent=1)
    (folder / "matrix.json").write_text(text + "\n", encoding="utf-8")
    _draw(rows, folder / "matrix.png")
    console.print(f"matrix: written to {folder}/matrix.txt, .json, .png", soft_wrap=True)


def _caught(rows: list[Row]) -> int:
    return sum(bool(row.kills) for row in rows)


def _summary(title: str, names: list[str], rows: list[Row], of: Callable) -> Table:
    table = Table(title, "sees", "alone", "which only it sees", title=f"by {title}")
    for name, only in alone(rows, names, of).items():
        seen = sum(name in of(row) for row in rows)
        named = ", ".join(row.name for row in only[:SHOWN])
        more = f" and {len(only) - SHOWN} more" if len(only) > SHOWN else ""
        table.add_row(name, str(seen), str(len(only)), named + more)
    return table


def _table(rows: list[Row]) -> Table:
    table = Table("mutant or museum piece", "oracle", "verdict", "line or test", "CPU s")
    for row in rows:
        for number, kill in enumerate(row.kills or [None]):
            name = row.name if number == 0 else ""
            cells = ("-", "survives", "", "")
            if kill:
                cells = (kill.oracle, kill.verdict, kill.line, f"{kill.seconds:.2f}")
            table.add_row(name, *cells)
    return table


def _draw(rows: list[Row], path: Path) -> None:
    """A row for each mutant, a column for each oracle, dark where it sees the mutant."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    names = [name for group in groups(rows).values() for name in group]
    cells = [[name in row.oracles for name in names] for row in rows]
    size = (6 + INCHES_PER_ORACLE * len(names), 2 + INCHES_PER_ROW * len(rows))
    figure, axes = pyplot.subplots(figsize=size, layout="constrained")
    axes.imshow(cells, aspect="auto", cmap="Greys", vmin=0, vmax=1.3, interpolation="nearest")
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=4)
    axes.set_title("which oracle sees which mutant")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
