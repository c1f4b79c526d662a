"""Every known bug that applies is named by what guards against it: a test, a line, an exhibit."""

import re
from pathlib import Path

import gptq_fuzz

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(gptq_fuzz.__file__).parent
BUGS = Path(__file__).with_name("bug_ids.txt")
ID = re.compile(r"\b(?:PK|GI|MK|OV|AC|LY|BF|ST|DT|AT|PF|B|L)-\d+\b|\bmuseum[ -]\d+\b")


def known_bugs():
    """Id -> why nothing guards against it, "" where something must."""
    lines = [line for line in BUGS.read_text().splitlines() if line and not line.startswith("#")]
    fields = [[field.strip() for field in line.split("|")] for line in lines]
    assert all(len(each) in (3, 4) and ID.fullmatch(each[0]) for each in fields)
    bugs = {each[0]: each[3] if len(each) == 4 else "" for each in fields}
    assert len(bugs) == len(lines), "an id is given twice"
    return bugs


def named_ids():
    """Ids in the tests, in the comments of the corpus and in the museum."""
    files = [*(ROOT / "tests").rglob("*.py"), *(PACKAGE / "corpus").glob("*.txt")]
    files += (PACKAGE / "museum").rglob("*.py")
    found = {each for path in files for each in ID.findall(path.read_text())}
    return {each.replace("museum-", "museum ") for each in found}


def test_every_bug_that_applies_is_named_by_its_guard():
    bugs = known_bugs()
    assert {bug for bug, reason in bugs.items() if not reason} <= named_ids()


def test_every_id_that_is_named_is_known():
    assert named_ids() <= known_bugs().keys()
