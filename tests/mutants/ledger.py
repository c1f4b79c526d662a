"""Survivors that are explained: ledger.txt, one mutant a line, each with its argument.

`ID | same | ARGUMENT`: no call can tell the mutant from the original; it is proven by 10^4 cases of
identical bits (`--equivalents`). `ID | gpu | ARGUMENT | TESTS`: only a GPU can tell; it is shown
there by TESTS, words for pytest (`--gpu`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LEDGER = Path(__file__).with_name("ledger.txt")
SAME, GPU = "same", "gpu"
FIELDS = {SAME: 3, GPU: 4}
MOST_SAME = 0.05  # share of the scored mutants that may be called equivalent


@dataclass(frozen=True)
class Entry:
    """Why a mutant may survive."""

    id: str
    kind: str
    argument: str
    tests: str = ""  # words for pytest; of `gpu` alone


def read_ledger(text: str | None = None) -> dict[str, Entry]:
    """By id. Raises ValueError for a malformed line."""
    text = LEDGER.read_text(encoding="utf-8") if text is None else text
    entries = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            entry = _entry(line)
            if entry.id in entries:
                raise ValueError(f"{entry.id} has two lines in the ledger")
            entries[entry.id] = entry
    return entries


def _entry(line: str) -> Entry:
    fields = [field.strip() for field in line.split(" | ")]
    kind = fields[1] if len(fields) > 1 else ""
    if FIELDS.get(kind) != len(fields) or not all(fields):
        raise ValueError(
            f"want `ID | {SAME} | ARGUMENT` or `ID | {GPU} | ARGUMENT | TESTS`, got {line!r}"
        )
    return Entry(*fields)
