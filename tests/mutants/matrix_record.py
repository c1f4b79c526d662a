"""The committed matrix: benchmarks/matrix.json, its picture, and the section of README.md."""

from __future__ import annotations

import json
import re

from .matrix import Kill, Row
from .matrix_report import SHOWN, alone, draw, groups, headlines
from .sites import ROOT

STATE, PICTURE = ROOT / "benchmarks" / "matrix.json", ROOT / "benchmarks" / "matrix.png"
README = ROOT / "README.md"
BLOCK = re.compile(r"(?<=<!-- matrix -->\n).*(?=<!-- matrix end -->)", re.DOTALL)
HEAD = "| oracle | sees | sees alone | of these |\n|---|---|---|---|\n"


def write(rows: list[Row]) -> None:
    """Keep which oracle saw what, a line for each row, draw it, and tell it in README.md."""
    lines = ",\n".join(json.dumps(_compact(row), ensure_ascii=False) for row in rows)
    STATE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    draw(rows, PICTURE)
    README.write_text(readme(README.read_text(encoding="utf-8"), rows), encoding="utf-8")


def _compact(row: Row) -> dict:
    told = {"name": row.name, "area": row.area, "what": row.what, "scored": row.scored}
    return told | {"seen": {kill.oracle: kill.verdict for kill in row.kills}}


def read() -> list[Row]:
    """The rows as they were written; lines and seconds are not kept."""
    rows = []
    for one in json.loads(STATE.read_text(encoding="utf-8")):
        kills = [Kill(oracle, verdict, "", 0.0) for oracle, verdict in one.pop("seen").items()]
        rows.append(Row(**one, kills=kills))
    return rows


def readme(text: str, rows: list[Row]) -> str:
    """`text` with the section between the marks made anew."""
    return BLOCK.sub(lambda _: render(rows), text)


def render(rows: list[Row]) -> str:
    """Both headlines, and of each oracle what no other one sees, as Markdown."""
    told = [_sentence(line.removeprefix("matrix: ")) for line in headlines(rows)]
    names = [name for group in groups(rows).values() for name in group]
    table = [
        f"| {name} | {sum(name in row.oracles for row in rows)} | {len(only)} | {_named(only)} |"
        for name, only in alone(rows, names, lambda row: row.oracles).items()
    ]
    return "\n".join([*told, HEAD + "\n".join(table)]) + "\n"


def _sentence(line: str) -> str:
    return f"{line[0].upper()}{line[1:]}.\n"


def _named(rows: list[Row]) -> str:
    return ", ".join(f"`{row.name}`" for row in rows[:SHOWN])
