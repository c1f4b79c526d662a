"""Faults that kernels in use had and no operator makes: known.txt puts them into our own code.

A block is `IDS | what goes wrong`, `in FILE`, then lines `- old`, which the file must hold exactly
once, and `+ new`. Ids are those of tests/suite/bug_ids.txt.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from qualification.report import ROOT

from .site import Site, blocks

KNOWN = Path(__file__).with_name("known.txt")


def sites(text: str | None = None, root: Path = ROOT) -> Iterator[Site]:
    """Raises ValueError for a malformed block, and where the old text is not there once."""
    text = KNOWN.read_text(encoding="utf-8") if text is None else text
    for head, place, *changes in blocks(text):
        if " | " not in head or not place.startswith("in ") or not changes:
            raise ValueError(f"want `IDS | what`, `in FILE`, `- old` and `+ new`, got {head!r}")
        path = place.removeprefix("in ")
        old, new = ("\n".join(line[2:] for line in changes if line[0] == sign) for sign in "-+")
        source = (root / path).read_text(encoding="utf-8")
        if source.count(old) != 1:
            raise ValueError(
                f"{head}: {path} must hold this once, not {source.count(old)}x:\n{old}"
            )
        line = source[: source.index(old)].count("\n") + 1
        yield Site("known", path, line, head, lambda s=source, o=old, n=new: s.replace(o, n))
