"""What GitHub reads: commands are escaped, and text of kernels breaks no table."""

import io
from types import SimpleNamespace

import pytest

from gptq_fuzz import command
from gptq_fuzz.plugin import handed_on
from gptq_fuzz.report.facts import of_documents
from gptq_fuzz.report.github import MOST, annotations, summary, tell_github
from tests.documents import EVIL, batch, finding, gone


def test_a_note_stands_at_the_file_of_the_kernel(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("")
    found = [finding(), finding(name="elsewhere.py:f")]
    found[0]["verdict"]["message"] = "100%\n::error::again"
    other, mine = sorted(annotations(of_documents(found)))[::-1]
    assert mine.startswith("::error file=mine.py,title=WRONG mine.py%3Af::gptq-fuzz --kernel ")
    assert mine.endswith("100%25%0A::error::again")
    assert "\n" not in mine
    assert other.startswith("::error title=WRONG elsewhere.py%3Af::")


def test_no_more_notes_than_github_shows_and_none_of_what_is_gone():
    many = [finding(f"m{m + 1}-n4-k4-b8-gall") for m in range(MOST + 5)]
    assert len(annotations(of_documents(many))) == MOST
    assert annotations(of_documents([finding(), gone()])) == []


def test_the_summary_is_one_row_a_kernel_and_text_stays_text():
    name = f"a|b`{EVIL}"
    evil = finding(name=name)
    evil["verdict"]["message"] = "```\n# a heading\n<img>"
    lines = summary(of_documents([evil, batch(name=name), batch()])).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + 2
    assert {row.replace("\\|", "").count("|") for row in rows} == {7}
    assert not [line for line in lines if line.startswith(("#", "```", "<")) and "gptq" not in line]
    assert "**wrong: 1**" in rows[2]
    assert "nothing found" in rows[3]


def test_only_github_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    path = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    said = []
    tell_github(of_documents([finding()]), said.append)
    assert not path.exists()
    assert said == []
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    for _ in range(2):
        tell_github(of_documents([finding()]), said.append)
    assert path.read_text().count("### gptq-fuzz") == 2
    assert len(said) == 2


@pytest.mark.parametrize(
    ("words", "extra"),
    [(["campaign"], "campaign"), (["report"], "report"), (["store"], "campaign")],
)
def test_a_sub_command_without_its_packages_names_the_extra(words, extra, monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    monkeypatch.setattr("sys.stderr", said := io.StringIO())
    assert command.main(words) == 4
    assert f"install gptq-fuzz[{extra}]" in said.getvalue()


def test_an_option_without_its_package_names_the_extra(monkeypatch):
    monkeypatch.setattr(handed_on, "find_spec", lambda name: None)
    handed_on.require_packages(SimpleNamespace(store=None, html=None))
    with pytest.raises(pytest.UsageError, match=r"gptq-fuzz\[report\]"):
        handed_on.require_packages(SimpleNamespace(store=None, html="page.html"))
