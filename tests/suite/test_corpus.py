"""The corpus can be read by the built-in kernels, and every known bug is named by its guard."""

import re
from pathlib import Path

from gptq_fuzz._checkout import PACKAGE
from gptq_fuzz.adapters.exllama import EXLLAMA
from gptq_fuzz.adapters.triton import TRITON
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.corpus import OURS, our_corpus

TOKENS = (*TRITON.limits.tokens, *EXLLAMA.limits.tokens)
BUGS = Path(__file__).with_name("bug_ids.txt")
ID = re.compile(r"\b(?:PK|GI|MK|OV|AC|LY|BF|ST|DT|AT|PF|B|L)-\d+\b|\bmuseum[ -]\d+\b")


def test_every_line_is_a_case():
    for line in our_corpus():
        assert str(Case.parse(line, TOKENS)) == line


def test_lines_of_the_extension_name_what_they_guard_against():
    texts = "".join(path.read_text() for path in OURS.glob("*.txt")).splitlines()
    lines = [text.partition("#") for text in texts if "-thd" in text.partition("#")[0]]
    assert lines
    assert all(ID.search(comment) for _, _, comment in lines)


def test_every_way_through_the_extension_has_lines():
    """All four ways, with rows in order and not."""
    cases = [Case.parse(line, TOKENS) for line in our_corpus() if "-thd" in line]
    seen = {(dict(case.extra)["thd"], case.g_idx) for case in cases}
    assert {("0", "seq"), ("0", "act"), ("1", "seq"), ("1", "act"), ("8", "seq")} <= seen


def known_bugs():
    """Id -> why nothing guards against it, "" where something must."""
    lines = [line for line in BUGS.read_text().splitlines() if line and not line.startswith("#")]
    fields = [[field.strip() for field in line.split("|")] for line in lines]
    assert all(len(each) in (3, 4) and ID.fullmatch(each[0]) for each in fields)
    bugs = {each[0]: each[3] if len(each) == 4 else "" for each in fields}
    assert len(bugs) == len(lines), "an id is given twice"
    return bugs


def test_every_bug_that_applies_is_named_by_its_guard_and_no_other_id_is():
    """In the tests, in the comments of the corpus and in the museum."""
    files = [*Path(__file__).parents[1].rglob("*.py"), *OURS.glob("*.txt")]
    files += (PACKAGE / "museum").rglob("*.py")
    found = {each for path in files for each in ID.findall(path.read_text())}
    named, bugs = {each.replace("museum-", "museum ") for each in found}, known_bugs()
    assert {bug for bug, reason in bugs.items() if not reason} <= named <= bugs.keys()
