"""What GitHub shows of a run: the step's summary, and a note at the kernel's file for each finding.

Only where `GITHUB_ACTIONS` says that it is GitHub.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from gptq_fuzz.report.facts import Facts, Found, share

MOST = 10  # annotations that GitHub shows of one step
SHOWN = 50  # findings of a summary, which may have 1 MiB


def tell_github(facts: Facts, write: Callable[[str], None]) -> None:
    """Add to the summary's file, and write annotations to what GitHub reads: standard output."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    for line in annotations(facts):
        write(line)
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(path, "a", encoding="utf-8", errors="replace") as file:
            file.write(summary(facts))


def annotations(facts: Facts) -> list[str]:
    """`::error file=mine.py,title=WRONG mine.py%3Af::...`, one for each finding."""
    return [_annotation(one) for one in _open(facts)[:MOST]]


def _annotation(one: Found) -> str:
    place = one.kernel.rpartition(":")[0]
    is_here = place.endswith(".py") and not Path(place).is_absolute() and Path(place).is_file()
    names = {"file": place} if is_here else {}
    names["title"] = f"{one.verdict['kind']} {one.kernel}"
    properties = ",".join(f"{name}={_property(value)}" for name, value in names.items())
    return f"::error {properties}::{_data(_text(one))}"


def _text(one: Found) -> str:
    said = [one.command or one.verdict["line"], one.verdict["message"], one.verdict["where"]]
    return "\n".join(filter(None, said))


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def summary(facts: Facts) -> str:
    """Markdown: a row for each kernel, then each finding."""
    lines = ["### gptq-fuzz", "", "| kernel | result | cases | pairs | triples | device |"]
    lines.append("|---|---|---|---|---|---|")
    for kernel in facts.kernels.values():
        wrong = facts.wrong(kernel.name)
        result = f"**wrong: {wrong}**" if wrong else "nothing found"
        covered = [share(each) if each else "" for each in (kernel.pairs, kernel.triples)]
        cells = [_code(kernel.name), result, str(kernel.cases), *covered]
        lines.append(f"| {' | '.join([*cells, ', '.join(map(_code, kernel.machines))])} |")
    for name, why in facts.left_out.items():
        lines += ["", f"{_code(name)} was left out: {_code(why.splitlines()[0] if why else '')}"]
    found = _open(facts)
    for one in found[:SHOWN]:
        lines += ["", f"**{one.verdict['kind']}**", "", *_block(_text(one))]
    if len(found) > SHOWN:
        lines += ["", f"and {len(found) - SHOWN} more findings"]
    return "\n".join([*lines, "", ""])


def _open(facts: Facts) -> list[Found]:
    return [one for one in facts.findings if not one.gone]


def _code(text: str) -> str:
    """Text of somebody's in a cell of a table."""
    plain = text.replace("`", "'").replace("|", "\\|").replace("\n", " ")
    return f"`{plain}`" if plain else ""


def _block(text: str) -> list[str]:
    """Text as it is: each line indented, which no character of it ends."""
    return [f"    {line}" for line in text.splitlines()]
