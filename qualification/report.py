"""Where the commands print to and write to."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"


def say(text: str) -> None:
    """A line as it is: not wrapped, and no bracket taken for a colour."""
    Console(file=sys.stdout, markup=False, highlight=False, soft_wrap=True).print(text)


def write_results(name: str, data: dict, folder: Path) -> None:
    """`folder`/NAME.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
