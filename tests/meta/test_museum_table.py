"""The museum's table holds every exhibit, and says what was recorded of it."""

import re

import pytest

from tests.museum import record, run
from tests.museum.catalogue import Exhibit, faulty
from tests.museum.record import Record
from tests.museum.table import README, TABLE, readme, render

HIDDEN = Exhibit("hidden", "hidden.py:f", "a fault (museum 7)", ("WRONG",), missed="too large")
FOUND = Exhibit("found", "found.py:f", "another fault (museum 7, L-01)", ("WRONG",))


def recorded(check="value", kind="WRONG", line="m1-n4-k4-b8-gall-randn", seconds=2.0):
    first = {"kind": kind, "line": "m9-n8-k8-b4-gall", "check": check, "cases": 4, "seconds": 1.0}
    found = {"kind": kind, "line": line, "check": check, "ratio": 9.0, "message": ""}
    return Record("0", "tests", first, found | {"seconds": seconds}, 5.0)


def test_the_committed_table_holds_every_exhibit_once():
    rows = re.findall(r"^\| ([a-z]\w+) \|", TABLE.read_text(), re.MULTILINE)
    assert [name for name in rows if name != "kernel"] == [e.name for e in faulty()]


def test_the_tables_say_what_is_recorded():
    shown = run.known_of(run.read(run.STATE))
    assert TABLE.read_text() == render(shown)
    assert readme(README.read_text(), shown) == README.read_text()
    assert [e.name for e, made in shown.items() if run.missed_now(e, made)] == []
    assert [e.name for e, made in shown.items() if made.caught and e.missed] == []


def test_every_numbered_bug_has_an_exhibit():
    numbers = {int(n) for e in faulty() for n in re.findall(r"\bmuseum (\d+)\b", e.bug)}
    assert numbers == set(range(1, 32))


def test_a_row_says_what_was_found_and_when():
    text = render({FOUND: recorded(), HIDDEN: Record("0")})
    assert "Caught: 1 of 2.\n" in text
    assert "first failing verdict: median 1.0 s, worst 1 s (`found`)" in text
    row = "| WRONG | fill randn | `m1-n4-k4-b8-gall-randn` | 4 | 1.0 | 2.0 |"
    assert f"| 7 | found | another fault (museum 7, L-01) {row}" in text
    assert "Wrong, on the shrunk line, by at most 1.1 times what is allowed: none." in text
    assert "| hidden | a fault (museum 7) | not caught: too large |" in text


def test_a_row_says_what_is_still_to_be_judged():
    text = render({FOUND: Record("")})
    assert "Caught: 0 of 1, 1 of them not judged yet.\n" in text
    assert "| found | another fault (museum 7, L-01) | not judged yet |" in text


def test_a_fault_that_the_bound_nearly_allows_is_named():
    near = recorded()
    near.found["ratio"] = 1.05
    assert "times what is allowed: `found` (1.05)." in render({FOUND: near})


def test_the_readme_holds_a_row_for_each_numbered_bug():
    text = "before\n<!-- museum -->\nold\n<!-- museum ends -->\nafter\n"
    made = readme(text, {FOUND: recorded(), HIDDEN: Record("0")})
    row = "| 7 | another fault | WRONG, fill randn | `m1-n4-k4-b8-gall-randn` | 1.0 | 2.0 |\n"
    assert made.startswith("before\n<!-- museum -->\nCaught: 1 of 2.\n")
    assert made.endswith(row + "<!-- museum ends -->\nafter\n")


@pytest.mark.parametrize(
    ("told", "oracle"),
    [
        ({}, "fill randn"),
        ({"line": "m1-n4-k4-b8-gall"}, "fill exact"),
        ({"check": "decoy", "kind": "STATE_LEAKED"}, "decoy"),
        ({"kind": "STATE_LEAKED"}, "global state"),
        ({"kind": "CRASHED"}, "process"),
        ({"kind": "WRONG_TYPE"}, "type"),
    ],
)
def test_the_oracle_is_a_fill_a_check_or_what_watches_the_call(told, oracle):
    assert recorded(**told).oracle == oracle


def test_what_is_known_is_read_again_and_depends_on_the_content(tmp_path):
    path = tmp_path / "results" / "museum.json"
    run.save(path, {"found": recorded(), "hidden": Record("0")})
    assert run.read(path) == {"found": recorded(), "hidden": Record("0")}
    assert run.read(tmp_path / "absent.json") == {}
    first, second = (record.digest(exhibit) for exhibit in faulty()[:2])
    assert first != second
