"""Results that are known: one line of JSON each, found by a hash of all they depend on."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from .outcome import Outcome
from .sites import ROOT

FILE = ROOT / ".gptq-fuzz" / "mutants.jsonl"


class Cache:
    """Appends to its file, so that a run that is broken off has lost nothing."""

    def __init__(self, path: Path = FILE):
        self.path = path
        self._known: dict[str, dict] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                self._read(line)

    def _read(self, line: str) -> None:
        try:
            entry = json.loads(line)
            self._known[entry["key"]] = entry["outcome"]
        except (ValueError, LookupError, TypeError):
            return  # the last line of a run that was killed

    def forget(self) -> None:
        """Begin anew."""
        self._known.clear()
        self.path.unlink(missing_ok=True)

    def get(self, key: str) -> Outcome | None:
        found = self._known.get(key)
        return None if found is None else Outcome(**found)

    def put(self, key: str, outcome: Outcome) -> None:
        self._known[key] = asdict(outcome)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "outcome": asdict(outcome)}) + "\n")
