"""The table of known bugs is up to date, and holds no empty promise."""

import pytest

from tests.bugs.mentions import mentions_in
from tests.bugs.table import ID, TABLE, Bug, guards, named, problems, read_bugs, render

AGAIN = "write it again: python -m tests.bugs.table"


def test_the_committed_table_is_what_is_generated():
    assert TABLE.read_text() == render(read_bugs(), guards()), f"{TABLE} is out of date, {AGAIN}"


def test_every_bug_has_a_guard_or_a_reason_and_every_id_exists():
    told = problems(read_bugs(), guards(), named())
    assert not told, "\n".join(told)


OPEN = Bug("L-01", "triton", "a tail")
EXCUSED = Bug("L-01", "triton", "a tail", "not applicable: no tails")


@pytest.mark.parametrize(
    ("bug", "found", "named_in", "word"),
    [
        (OPEN, {}, {}, "neither"),
        (EXCUSED, {"L-01": ["a test"]}, {}, "a reason, and is guarded by a test"),
        (OPEN, {"L-01": ["a test"]}, {"L-99": {"a.py:3"}}, "L-99 is not in ids.txt"),
    ],
    ids=["unguarded", "stale-reason", "unknown-id"],
)
def test_contradictions_are_told(bug, found, named_in, word):
    (told,) = problems([bug], found, named_in)
    assert word in told


@pytest.mark.parametrize(
    ("bug", "found"),
    [
        (OPEN, {"L-01": ["a test"]}),
        (EXCUSED, {}),
    ],
    ids=["guarded", "excused"],
)
def test_what_agrees_is_not_told(bug, found):
    assert problems([bug], found, {"L-01": {"a.py:3"}}) == []


@pytest.mark.parametrize(
    "text", ["L-01 | triton", "L-1x | triton | a tail", "L-01 | triton | a tail |", "L-01"]
)
def test_a_malformed_line_is_refused(tmp_path, text):
    (tmp_path / "ids.txt").write_text(text)
    with pytest.raises(ValueError, match=r"want `id \| area \| what`"):
        read_bugs(tmp_path / "ids.txt")


def test_an_id_given_twice_is_refused(tmp_path):
    (tmp_path / "ids.txt").write_text("# head\n\nL-01 | triton | one\nL-01 | triton | two\n")
    with pytest.raises(ValueError, match="L-01"):
        read_bugs(tmp_path / "ids.txt")


SOURCE = '''"""About L-01."""
LINES = [
    "a",  # L-02
]


def lines():
    return LINES


@marked("L-03-tail")
def test_one():
    """L-04, L-05:
    L-06 too."""


# L-07
def test_two():
    assert lines()


def helper():  # L-08
    pass
'''


@pytest.mark.parametrize(
    ("name", "tests"),
    [
        ("L-01", ["`tests/test_a.py`"]),
        ("L-02", ["`tests/test_a.py::test_two`"]),
        ("L-03", ["`tests/test_a.py::test_one`"]),
        ("L-06", ["`tests/test_a.py::test_one`"]),
        ("L-07", ["`tests/test_a.py::test_two`"]),
        ("L-08", ["`tests/test_a.py`"]),
    ],
)
def test_an_id_belongs_to_the_test_around_it_or_to_those_that_use_it(name, tests):
    found = mentions_in(SOURCE, "tests/test_a.py", ID)
    assert [mention.guard for mention in found if mention.id == name] == tests


def test_a_file_without_tests_names_ids_and_guards_nothing():
    found = mentions_in(SOURCE, "tests/suite/a.py", ID)
    assert len(found) == 8
    assert not any(mention.guard for mention in found)


def test_the_table_names_three_guards_and_counts_the_rest():
    given = ["`a::test_a`", "`a::test_b`", "`a::test_c`", "corpus `m1`", "museum `zero`"]
    row = render([OPEN], {"L-01": given}).splitlines()[-1]
    assert row.endswith("| `a::test_a`, corpus `m1`, museum `zero`, 2 more |")
