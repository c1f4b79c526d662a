"""The committed tables: a text file per compiler and architecture, a line per binary.

A line is `NAME: threads 128, registers 168, shared 57600`, then `; cannot run: ` and the reasons
where there are any. Counts that are zero are left out; their units are in `resources.Resources`.
The first line names the compiler and its version, without which no figure means anything.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path

from .architectures import Architecture
from .resources import Built

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "aot"
REFUSED = "; cannot run: "
HEAD = """\
# {version}
# Written by `python -m qualification.aot --update`. Units: qualification/aot/resources.py
"""


@dataclass
class Table:
    """What is known of one architecture: name of a binary -> the rest of its line."""

    name: str  # `sm_80`; `exllama_sm_80` for what nvcc compiles
    version: str  # of the compiler, `triton 3.7.1`; "" where no table was ever written
    lines: dict[str, str] = field(default_factory=dict)

    @property
    def refused(self) -> dict[str, str]:
        """Name of a binary that cannot run -> the reasons."""
        parts = ((name, rest.partition(REFUSED)) for name, rest in self.lines.items())
        return {name: reasons for name, (_, mark, reasons) in parts if mark}

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.name}.txt"

    def write(self) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        self.path.write_text(
            HEAD.format(version=self.version) + "\n".join([*_text(self.lines), ""])
        )


def read(name: str) -> Table:
    """The committed table; an empty one where there is none."""
    table = Table(name, "")
    if not table.path.exists():
        return table
    text = table.path.read_text()
    found = re.match(r"# ((?:triton|nvcc) \S+)\n", text)
    if not found:
        raise ValueError(f"{table.path} does not begin with `# triton VERSION` or `# nvcc VERSION`")
    rows = [line.split(": ", 1) for line in text.splitlines() if not line.startswith("#")]
    return Table(name, found[1], dict(rows))


def line_of(built: Built, architecture: Architecture) -> str:
    """All that follows the name of a binary."""
    if built.resources is None:
        return f"not compiled{REFUSED}{built.failure}"
    reasons = ", ".join(architecture.lacks(built.resources))
    return f"{built.resources}{REFUSED}{reasons}" if reasons else str(built.resources)


def difference(committed: Table, compiled: Table, whole: bool) -> list[str]:
    """A unified diff without context; [] where the two agree.

    Of a sample (not `whole`) only its own binaries are compared. Of tables by two versions of a
    compiler only which binaries cannot run.
    """
    old, new = committed.lines, compiled.lines
    if committed.version and committed.version != compiled.version:
        old, new = (dict.fromkeys(table.refused, "cannot run") for table in (committed, compiled))
    if not whole:
        old = {name: rest for name, rest in old.items() if name in compiled.lines}
    names = (committed.path.relative_to(FOLDER.parents[1]).as_posix(), "compiled now")
    return list(difflib.unified_diff(_text(old), _text(new), *names, lineterm="", n=0))


def _text(lines: dict[str, str]) -> list[str]:
    return [f"{name}: {rest}" for name, rest in lines.items()]
