"""A run with a store and a page: what is found is kept, and asked first by the next one."""

import shutil

import pytest

from gptq_fuzz._checkout import PACKAGE
from gptq_fuzz.store.known import known
from gptq_fuzz.store.store import Store
from tests.runs import run_many

pytestmark = pytest.mark.turns(4, whole=True)

CASE = "m1-n4-k4-b8-gall"
RUN = ["--kernel", "mine.py:f", "--store", "store"]
ANSWER = """
import sys
from gptq_fuzz.command import main
from tests.runs import answer
answer(main)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A wrong kernel found, then another line of it asked, then the mended kernel, by its copy."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "asks.py").write_text(ANSWER)
    shutil.copy(PACKAGE / "museum" / "faulty" / "zero_not_wrapped.py", folder / "mine.py")
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
    page = ["--html", "page.html"]
    found = run_many(
        {
            "first": [*RUN, *page, "--case", CASE],
            "second": [*RUN, "--case", f"{CASE}-zsym"],
            "nowhere": ["--kernel", "mine.py:f", "--store", "nosuch://x", "--case", CASE],
        },
        "asks", folder, **github,
    )  # fmt: skip
    shutil.copy(PACKAGE / "museum" / "correct" / "sequential.py", folder / "mine.py")
    found |= run_many({"mended": [*RUN, "--case", f"{CASE}-zsym"]}, "asks", folder)
    return folder, found


def test_what_is_found_is_kept_and_asked_first_by_the_next_run(runs):
    folder, found = runs
    assert [found[name][0] for name in ("first", "second", "mended")] == [1, 1, 0]
    (one,) = known(Store(str(folder / "store")).documents())
    assert one.asked == ["--case", CASE]
    assert one.first < one.last < one.gone
    assert {each["of"] for each in one.latest["pictures"]} == {"result", "weights"}


def test_the_page_of_a_run_has_its_findings(runs):
    text = (runs[0] / "page.html").read_text()
    assert f"--kernel mine.py:f --case {CASE}</code>" in text
    assert text.count("<figure>") >= 2
    assert "torch " in text


def test_github_is_told_of_each_run(runs):
    folder, found = runs
    assert "::error file=mine.py,title=WRONG mine.py%3Af::" in found["first"][1]
    assert (folder / "summary.md").read_text().count("### gptq-fuzz") == 2


def test_a_store_that_cannot_be_reached_is_a_wrong_option(runs):
    status, said = runs[1]["nowhere"]
    assert status == 4
    assert "nosuch" in said
