"""Which test, corpus line or museum kernel guards against which known bug.

`python -m tests.bugs.table` reads ids.txt and everything that names an id, and writes TABLE.md.
"""

import functools
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from tests.bugs.mentions import Mention, mentions_in
from tests.museum.catalogue import faulty

TESTS = Path(__file__).resolve().parents[1]
IDS = TESTS / "bugs" / "ids.txt"
TABLE = TESTS / "bugs" / "TABLE.md"
NAMED = 3  # guards of a bug that the table names; the others are counted
ID = re.compile(r"\b(?:PK|GI|MK|OV|AC|LY|BF|ST|DT|AT|PF|B|L)-\d+\b|\bmuseum \d+\b")
HEAD = """\
# Known bugs and what guards against them

Written by `python -m tests.bugs.table` from `ids.txt` and from what names an id: docstrings and
comments of tests, comments of corpus lines, and `BUG` of the faulty kernels in `tests/museum`
(which show that the suite sees such a bug in any kernel). A corpus line runs on every kernel whose
limits hold it.

| id | area | what goes wrong | guarded by, or why not |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Bug:
    """One line of ids.txt; `reason` says why nothing guards against it, "" where something must."""

    id: str
    area: str
    what: str
    reason: str = ""


def read_bugs(path: Path = IDS) -> list[Bug]:
    """In the order of the file. Raises ValueError for a malformed line or an id given twice."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    bugs = [_bug(line) for line in lines]
    twice = {bug.id for bug in bugs if sum(other.id == bug.id for other in bugs) > 1}
    if twice:
        raise ValueError(f"{path} has {sorted(twice)} more than once")
    return bugs


def _bug(line: str) -> Bug:
    fields = [field.strip() for field in line.split("|")]
    if len(fields) not in (3, 4) or not all(fields) or not ID.fullmatch(fields[0]):
        raise ValueError(f"want `id | area | what` and perhaps `| why not`, got {line!r}")
    return Bug(*fields)


def guards() -> dict[str, list[str]]:
    """Id -> test nodes, then corpus lines, then museum kernels; each once."""
    found = defaultdict(list)
    for mention in _mentions():
        if mention.guard and mention.guard not in found[mention.id]:
            found[mention.id].append(mention.guard)
    return dict(found)


def named() -> dict[str, set[str]]:
    """Id -> the places that name it, whether they guard or not."""
    found = defaultdict(set)
    for mention in _mentions():
        found[mention.id].add(mention.place)
    return dict(found)


@functools.cache
def _mentions() -> tuple[Mention, ...]:
    return (*_tests(), *_corpus(), *_museum())


def _tests() -> list[Mention]:
    """Of tests/**/*.py without this folder, its test and the museum, which names ids in BUG."""
    left_out = {TESTS / "bugs", TESTS / "museum"}
    paths = (path for path in sorted(TESTS.rglob("*.py")) if not left_out & set(path.parents))
    found = []
    for path in paths:
        if path.name != "test_bug_table.py":
            found += mentions_in(path.read_text(), path.relative_to(TESTS.parent).as_posix(), ID)
    return found


def _corpus() -> list[Mention]:
    found = []
    for path in sorted((TESTS / "corpus").glob("*.txt")):
        for number, text in enumerate(path.read_text().splitlines(), 1):
            line, _, comment = text.partition("#")
            guard = f"corpus `{line.strip()}`" if line.strip() else ""
            place = f"tests/corpus/{path.name}:{number}"
            found += [Mention(name, place, guard) for name in ID.findall(comment)]
    return found


def _museum() -> list[Mention]:
    return [
        Mention(name, f"tests/museum/faulty/{exhibit.name}.py", f"museum `{exhibit.name}`")
        for exhibit in faulty()
        for name in ID.findall(exhibit.bug)
    ]


def problems(bugs: list[Bug], found: dict[str, list[str]], named: dict[str, set[str]]) -> list[str]:
    """What contradicts what: unknown ids, stale reasons, bugs without either."""
    known = {bug.id for bug in bugs}
    told = [
        f"{name} is not in ids.txt, it is named in {', '.join(sorted(places))}"
        for name, places in sorted(named.items())
        if name not in known
    ]
    for bug in bugs:
        if bug.reason and found.get(bug.id):
            told.append(f"{bug.id} has a reason, and is guarded by {found[bug.id][0]}")
        if not bug.reason and not found.get(bug.id):
            told.append(f"{bug.id} ({bug.what}) has neither a guard nor a reason")
    return told


def render(bugs: list[Bug], found: dict[str, list[str]]) -> str:
    """The text of TABLE.md."""
    rows = []
    for bug in bugs:
        told = bug.reason or _told(found.get(bug.id, []))
        rows.append(f"| {bug.id} | {bug.area} | {bug.what} | {told} |\n")
    return HEAD + "".join(rows)


def _told(given: list[str]) -> str:
    """At most three, of different kinds where there are some, and how many more."""
    kinds = defaultdict(list)
    for guard in given:
        kinds[guard.split(" ")[0] if " " in guard else "test"].append(guard)
    firsts = [guards[0] for guards in kinds.values()]
    rest = [guard for guard in given if guard not in firsts]
    shown = [guard for guard in given if guard in (firsts + rest)[:NAMED]]
    more = len(given) - len(shown)
    return ", ".join(shown + [f"{more} more"] * (more > 0)) or "nothing yet"


if __name__ == "__main__":
    TABLE.write_text(render(read_bugs(), guards()))
