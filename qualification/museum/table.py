"""What the museum shows, as Markdown."""

from __future__ import annotations

import re
from statistics import median

from gptq_fuzz.case.verdict import WRONG
from gptq_fuzz.museum.catalogue import MUSEUM, Exhibit
from qualification.museum.record import Record

TABLE = MUSEUM / "TABLE.md"
README = MUSEUM.parents[1] / "README.md"
BLOCK = re.compile(r"(?<=<!-- museum -->\n).*(?=<!-- museum ends -->)", re.DOTALL)
IDS = re.compile(r" \([^()]*\b(museum \d|[A-Z]{1,2}-\d\d)[^()]*\)$")
BARELY = 1.1  # |error| / bound: a fault judged by no more would say that the bound is too wide
NUMBERED = re.compile(r"\bmuseum (\d+)\b")
HEAD = """\
# Would this suite have caught it?

Written by `python -m qualification.museum` from benchmarks/museum.json. Each kernel is one of
gptq_fuzz/museum/faulty, put under `python -m pytest --kernel FILE:f` until its first finding, with no
GPU; `fuzz` marks those that this missed and 60 seconds of fuzzing found. Seconds count from the end
of the collection: to the first failing verdict, and to the shrunk line, judged again in a new
process. The oracle is a fill, a further check, or what watches over the call. A tie rounded to the
wrong side errs by just as much as the right one.

"""
README_HEAD = (
    "| # | bug | verdict, oracle | shrunk line | first, s | line, s |\n" + "|---" * 6 + "|"
)
COLUMNS = "verdict | oracle | shrunk line | cases | first, s | line, s |"


def render(records: dict[Exhibit, Record]) -> str:
    """The text of TABLE.md."""
    parts = (speed(records) + barely(records), numbered(records), everything(records))
    return HEAD + "\n".join(parts)


def speed(records: dict[Exhibit, Record]) -> str:
    """How many were caught, and how fast."""
    caught = {exhibit: made for exhibit, made in records.items() if made.caught}
    due = sum(not made.digest for made in records.values())
    later = f", {due} of them not judged yet" * bool(due)
    lines = [f"Caught: {len(caught)} of {len(records)}{later}.\n"]
    for what, part in (("first failing verdict", "first"), ("shrunk line", "found")):
        seconds = {e.name: getattr(made, part)["seconds"] for e, made in caught.items()}
        if seconds:
            slowest = max(seconds, key=seconds.get)
            told = f"median {median(seconds.values()):.1f} s, worst {seconds[slowest]:.0f} s"
            lines.append(f"Seconds to the {what}: {told} (`{slowest}`).\n")
    return "\n".join(lines)


def barely(records: dict[Exhibit, Record]) -> str:
    """Wrong values that the bound nearly allows."""
    ratios = {e.name: m.found["ratio"] for e, m in records.items() if m.found.get("kind") == WRONG}
    near = [f"`{name}` ({ratio:.3g})" for name, ratio in ratios.items() if ratio <= BARELY]
    those = ", ".join(near) or "none"
    return f"\nWrong, on the shrunk line, by at most {BARELY} times what is allowed: {those}.\n"


def numbered(records: dict[Exhibit, Record]) -> str:
    """The 31 bugs that kernels in use had: the exhibit hardest to meet stands for each."""
    rows = [f"## The 31 bugs\n\n| # | kernel | what goes wrong | {COLUMNS}\n|{'---|' * 9}"]
    rows += [_row(e, records[e], f"| {number} ") for number, e in _hardest(records).items()]
    return "\n".join(rows) + "\n"


def _hardest(records: dict[Exhibit, Record]) -> dict[int, Exhibit]:
    """For each of the 31 numbers, the exhibit of it that took most cases until it was met."""
    found = {}
    for number in range(1, 32):
        those = [e for e in records if str(number) in NUMBERED.findall(e.bug)]
        if those:
            found[number] = max(those, key=lambda exhibit: _cases(records[exhibit]))
    return found


def readme(text: str, records: dict[Exhibit, Record]) -> str:
    """README's text with its table of the 31 bugs made anew."""
    rows = [speed(records), README_HEAD]
    for number, exhibit in _hardest(records).items():
        made, bug = records[exhibit], IDS.sub("", exhibit.bug)
        told = f"{_why(exhibit, made)} | | | |"
        if made.caught:
            seconds = f"{made.first['seconds']:.1f} | {made.found['seconds']:.1f} |"
            told = f"{made.found['kind']}, {made.oracle} | `{made.found['line']}` | {seconds}"
        rows.append(f"| {number} | {bug} | {told}")
    return BLOCK.sub(lambda _: "\n".join(rows) + "\n", text)


def everything(records: dict[Exhibit, Record]) -> str:
    """Every exhibit, by name."""
    rows = [f"## All faults\n\n| kernel | what goes wrong | {COLUMNS}\n|{'---|' * 8}"]
    rows += [_row(e, made) for e, made in sorted(records.items(), key=lambda item: item[0].name)]
    return "\n".join(rows) + "\n"


def _cases(made: Record) -> int:
    return made.first["cases"] if made.caught else 0


def _why(exhibit: Exhibit, made: Record) -> str:
    return f"not caught: {exhibit.missed}" if made.digest or exhibit.missed else "not judged yet"


def _row(exhibit: Exhibit, made: Record, before: str = "") -> str:
    told = f"{before}| {exhibit.name} | {exhibit.bug} |"
    if not made.caught:
        return f"{told} {_why(exhibit, made)} | | | | | |"
    found = made.found
    cases = f"{made.first['cases']}{' (fuzz)' if made.stage == 'fuzz' else ''}"
    times = f"{made.first['seconds']:.1f} | {found['seconds']:.1f} |"
    return f"{told} {found['kind']} | {made.oracle} | `{found['line']}` | {cases} | {times}"
