"""What `--matrix` says: the table as text, JSON and a picture, and what each oracle sees alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .ledger import GPU, SAME
from .matrix import CORRECT, MUSEUM, NEVER, SEARCHED, Row
from .record import KILLED, NOT_JUDGED, SURVIVES

SHOWN = 4  # rows that only one oracle sees, named in the summary
INCHES_PER_ORACLE, INCHES_PER_ROW, ROOM = 0.34, 0.012, 2.2
LEAST_LABELLED = 12  # rows of an area below which its name would touch the next one
STATES = (SAME, GPU, SURVIVES, NOT_JUDGED)  # of those that no stage of the score killed
# Beside the fills; `import` is no oracle: the mutant cannot even be loaded.
CHECKS = (
    "repeat", "decoy", "row alone", "contiguous", "strided", "rows permuted", "columns split",
    "halved", "other format", "group named", "reloaded", "other config", "refusals", "import",
)  # fmt: skip


def groups(rows: list[Row]) -> dict[str, list[str]]:
    """Oracles that stand beside each other: fills, and relations and other checks."""
    from tests.suite.case import FILLS

    seen = set().union(*(row.oracles for row in rows))
    return {
        "fill": [name for name in FILLS if name in seen],
        "check": [name for name in CHECKS if name in seen],
    }


def alone(rows: list[Row], names: list[str], of: Callable[[Row], set[str]]) -> dict[str, list[Row]]:
    """Name -> the rows that only this one of `names` sees."""
    found = {name: [] for name in names}
    for row in rows:
        seen = of(row) & set(names)
        if len(seen) == 1:
            found[seen.pop()].append(row)
    return found


def verdicts_of(row: Row) -> set[str]:
    return {kill.verdict for kill in row.kills}


def write(console: Console, rows: list[Row], folder: Path) -> None:
    """The summary to the console; all of it to matrix.txt, matrix.json and matrix.png."""
    folder.mkdir(parents=True, exist_ok=True)
    for line in headlines(rows):
        console.print(line, soft_wrap=True, highlight=False)
    for title, names in groups(rows).items():
        console.print(_summary(title, names, rows, lambda row: row.oracles))
    kinds = sorted(set().union(*map(verdicts_of, rows)))
    console.print(_summary("verdict", kinds, rows, verdicts_of))
    with (folder / "matrix.txt").open("w", encoding="utf-8") as file:
        Console(file=file, width=200).print(_table(rows))
    text = json.dumps([asdict(row) for row in rows], indent=1)
    (folder / "matrix.json").write_text(text + "\n", encoding="utf-8")
    draw(rows, folder / "matrix.png")
    console.print(f"matrix: written to {folder}/matrix.txt, .json, .png", soft_wrap=True)


def headlines(rows: list[Row]) -> list[str]:
    """How many are seen, and what becomes of those that no fill and no check sees."""
    pieces = [row for row in rows if row.area == MUSEUM]
    correct = [row for row in pieces if row.what == CORRECT]
    mutants = [row for row in rows if row.area != MUSEUM]
    unseen = [row for row in mutants if not row.kills]
    became = Counter(row.scored if row.scored in STATES else KILLED for row in unseen)
    faulty = [row for row in pieces if row.what != CORRECT]
    return [
        f"matrix: fills and checks see {_seen(mutants)} of {len(mutants)} mutants of kernels/ and "
        f"{_seen(faulty)} of {len(faulty)} faulty museum pieces, and {_seen(correct)} of "
        f"{len(correct)} correct ones",
        f"matrix: of the {len(unseen)} mutants that none of them sees, {became[KILLED]} are killed "
        f"by the corpus or by tests of their part, {became[SAME]} are equivalent, {became[GPU]} "
        f"are for a GPU, {became[SURVIVES]} survive unexplained, {became[NOT_JUDGED]} are not "
        f"judged",
        f"matrix: of the faulty museum pieces that none of them sees in its few cases, the search "
        f"of `python -m tests.museum` finds {_missing(faulty, SEARCHED)}; no case is drawn that "
        f"shows {_missing(faulty, NEVER)}; {_missing(faulty, '')} not asked yet",
    ]


def _missing(pieces: list[Row], scored: str) -> str:
    """How many of those that nothing sees are of this state, and which."""
    names = [row.name for row in pieces if not row.kills and row.scored == scored]
    return f"{len(names)} ({', '.join(names)})" if names else "0"


def _seen(rows: list[Row]) -> int:
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
    table = Table("mutant or museum piece", "in the score", "oracle", "verdict", "line", "CPU s")
    for row in rows:
        for number, kill in enumerate(row.kills or [None]):
            names = (row.name, row.scored) if number == 0 else ("", "")
            cells = ("-", "not seen", "", "")
            if kill:
                cells = (kill.oracle, kill.verdict, kill.line, f"{kill.seconds:.2f}")
            table.add_row(*names, *cells)
    return table


def draw(rows: list[Row], path: Path) -> None:
    """A line for each mutant, grouped by area, a column for each oracle, dark where it sees it."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    names = [name for group in groups(rows).values() for name in group]
    # Neighbours alike, so that patterns show: most seen first within an area.
    ordered = sorted(rows, key=lambda row: (row.area, -len(row.oracles), sorted(row.oracles)))
    cells = [[name in row.oracles for name in names] for row in ordered]
    size = (ROOM + INCHES_PER_ORACLE * len(names), ROOM + INCHES_PER_ROW * len(rows))
    figure, axes = pyplot.subplots(figsize=size, layout="constrained")
    axes.imshow(cells, aspect="auto", cmap="Greys", vmin=0, vmax=1.3, interpolation="nearest")
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axes.xaxis.tick_top()
    _label_areas(axes, [row.area for row in ordered])
    axes.set_xlabel("which fill or check sees which mutant or museum piece", fontsize=9)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def _label_areas(axes, areas: list[str]) -> None:
    begin, ticks = 0, {}
    for area, members in groupby(areas):
        count = len(list(members))
        axes.axhline(begin - 0.5, color="tab:blue", linewidth=0.6)
        if count >= LEAST_LABELLED:
            ticks[begin + count / 2] = f"{area} ({count})"
        begin += count
    axes.set_yticks(list(ticks), list(ticks.values()), fontsize=8)
