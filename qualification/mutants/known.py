"""Mutants by hand: known.txt brings a bug of a known kind back into our own code.

A mutant is a line `IDS | what goes wrong`, then one or more changes: `in FILE`, lines `- old` that
the file must hold exactly once, lines `+ new`. A line `IDS | none: reason` says that our code
offers no place for such a bug. Ids are those of tests/bugs/ids.txt.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from .sites import ROOT, Mutant, short_name

KNOWN = Path(__file__).with_name("known.txt")
NONE = "none: "


@dataclass(frozen=True)
class Patch:
    """`changes`: (file, old text, new text)."""

    ids: tuple[str, ...]
    what: str
    changes: tuple[tuple[str, str, str], ...]

    @property
    def reason(self) -> str:
        """Why there is no mutant; "" where there is one."""
        return self.what.removeprefix(NONE) if self.what.startswith(NONE) else ""


def read_patches(text: str) -> list[Patch]:
    """Raises ValueError for what is malformed."""
    blocks = [block for block in text.split("\n\n") if not block.lstrip().startswith("#")]
    return [_patch(block.strip("\n").split("\n")) for block in blocks if block.strip()]


def _patch(lines: list[str]) -> Patch:
    ids, bar, what = lines[0].partition(" | ")
    if not bar:
        raise ValueError(f"want `IDS | what goes wrong`, got {lines[0]!r}")
    changes = []
    for line in lines[1:]:
        if line.startswith("in "):
            changes.append((line.removeprefix("in "), [], []))
        elif line[:2] in ("- ", "+ ", "-", "+") and changes:
            changes[-1][1 if line[0] == "-" else 2].append(line[2:])
        else:
            raise ValueError(f"want `in FILE`, `- old` or `+ new`, got {line!r}")
    patch = Patch(
        tuple(ids.split()),
        what.strip(),
        tuple((f"kernels/{name}", "\n".join(old), "\n".join(new)) for name, old, new in changes),
    )
    if bool(patch.reason) == bool(patch.changes):
        raise ValueError(f"want changes, or `none: reason`, in {lines[0]!r}")
    return patch


def mutants(patches: list[Patch], root: Path = ROOT) -> list[Mutant]:
    """One mutant for each patch. Raises ValueError where an old text is not there, once."""
    counts, found = Counter(), []
    for patch in patches:
        if patch.reason:
            continue
        counts[patch.ids[0]] += 1
        name = f"{patch.ids[0]}:{counts[patch.ids[0]]}"
        found.append(_mutant(patch, name, root))
    return found


def _mutant(patch: Patch, name: str, root: Path) -> Mutant:
    texts, line = {}, 0
    for path, old, new in patch.changes:
        text = texts.get(path) or (root / path).read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise ValueError(
                f"{name}: {path} must hold this text once, not {text.count(old)} times:\n{old}"
            )
        line = line or text[: text.index(old)].count("\n") + 1
        texts[path] = text.replace(old, new)
    first = patch.changes[0][0]
    more = tuple((path, text) for path, text in texts.items() if path != first)
    ids = " ".join(patch.ids)
    return Mutant(
        f"{short_name(first)}:known:{name}", first, "known", line, f"{ids}: {patch.what}",
        texts[first], more,
    )  # fmt: skip


def known_mutants() -> list[Mutant]:
    """Those of known.txt."""
    return mutants(read_patches(KNOWN.read_text(encoding="utf-8")))
