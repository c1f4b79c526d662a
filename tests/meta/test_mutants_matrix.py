"""The matrix: what each oracle sees of a mutant, and what it alone sees."""

import pytest
import torch

from tests.mutants import matrix, matrix_record, matrix_report
from tests.mutants.cache import Cache
from tests.mutants.matrix import Entry, Kill, Matrix, Row
from tests.mutants.outcome import Outcome
from tests.mutants.score import Scorer
from tests.mutants.scratch import Tree
from tests.mutants.sites import ROOT, Mutant

KERNEL = "kernels/triton_matmul.py"
NOTES = [
    {"oracle": "exact", "verdict": "WRONG", "line": "m1-n8-k8-b4-gall", "seconds": 0.5},
    {"oracle": "sparse", "seconds": 0.1},
]


def row(name, *oracles, area="triton", what="a -> b", scored="corpus"):
    return Row(name, area, what, scored, [Kill(oracle, "WRONG", "m1", 0.1) for oracle in oracles])


ROWS = [
    row("one", "exact", "repeat"),
    row("two", "exact"),
    row("three", area="pack", scored="tests/test_pack.py"),
    row("four", area="door", scored="same"),
    row("five", area="door", scored="not judged"),
    row("museum/wrong", "tiny", area="museum", scored=""),
    row("museum/rare", area="museum", scored="found by search"),
    row("museum/far", area="museum", scored="never drawn"),
    row("museum/right", area="museum", what="correct", scored=""),
]


def test_what_dies_goes_on_behind_the_oracle_that_it_died_of():
    entry = Entry(row("one"), "triton", {}, ())
    died = Outcome("oracles", "CRASHED", "process", "onehot", "the process died", notes=NOTES)
    matrix._take(entry, died)
    assert [kill.oracle for kill in entry.row.kills] == ["exact", "onehot"]
    assert entry.skip == ("exact", "sparse", "onehot")
    assert not entry.finished
    matrix._take(entry, Outcome("oracles", notes=[{"oracle": "lanes", "seconds": 0.1}]))
    assert entry.finished
    assert entry.row.oracles == {"exact", "onehot"}


def test_what_cannot_be_loaded_is_done_with():
    entry = Entry(row("one"), "triton", {}, ())
    matrix._take(entry, Outcome("oracles", "RAISED", "import", "", "SyntaxError"))
    assert entry.finished
    assert entry.row.oracles == {"import"}


def test_what_an_oracle_sees_alone():
    found = matrix_report.alone(ROWS, ["exact", "repeat", "tiny"], lambda row: row.oracles)
    names = {oracle: [row.name for row in rows] for oracle, rows in found.items()}
    assert names == {"exact": ["two"], "repeat": [], "tiny": ["museum/wrong"]}


def test_the_headlines_count_what_is_seen_and_what_becomes_of_the_rest():
    seen, unseen, pieces = matrix_report.headlines(ROWS)
    assert "see 2 of 5 mutants of kernels/ and 1 of 3 faulty museum pieces" in seen
    assert seen.endswith("and 0 of 1 correct ones")
    assert "of the 3 mutants that none of them sees, 1 are killed by the corpus or by" in unseen
    assert "1 are equivalent, 0 are for a GPU, 0 survive unexplained, 1 are not judged" in unseen
    assert "finds 1 (museum/rare); no case is drawn that shows 1 (museum/far); 0 not" in pieces


def test_the_matrix_is_kept_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr(matrix_record, "STATE", tmp_path / "matrix.json")
    monkeypatch.setattr(matrix_record, "PICTURE", tmp_path / "matrix.png")
    monkeypatch.setattr(matrix_record, "README", tmp_path / "README.md")
    (tmp_path / "README.md").write_text("a\n<!-- matrix -->\nold\n<!-- matrix end -->\nb\n")
    matrix_record.write(ROWS)
    kept = matrix_record.read()
    assert [(r.name, r.scored, r.oracles) for r in kept] == [
        (r.name, r.scored, r.oracles) for r in ROWS
    ]
    text = (tmp_path / "README.md").read_text()
    assert matrix_record.readme(text, kept) == text
    assert text.startswith("a\n<!-- matrix -->\nFills and checks see 2 of 5")
    assert "\n| exact | 2 | 1 | `two` |\n" in text
    assert text.endswith("\n<!-- matrix end -->\nb\n")
    assert (tmp_path / "matrix.png").read_bytes().startswith(b"\x89PNG")


def test_the_readme_tells_the_matrix_that_is_kept_and_no_other():
    text, kept = matrix_record.README.read_text(), matrix_record.STATE.exists()
    assert ("<!-- matrix -->" in text) == kept
    if kept:
        assert matrix_record.readme(text, matrix_record.read()) == text


@pytest.fixture
def scorer(tmp_path):
    tree = Tree()
    yield Scorer(tree, Cache(tmp_path / "cache"), jobs=2)
    tree.remove()


@pytest.mark.skipif(torch.cuda.is_available(), reason="interpreter_only")
def test_a_fault_of_a_kernel_is_seen_by_oracles_and_the_kernel_itself_by_none(scorer):
    text = (ROOT / KERNEL).read_text()
    faulty = text.replace(" + ZERO_OFFSET) & maxq", ") & maxq")
    mutants = [
        Mutant("known:wrong", KERNEL, "known", 1, "no zero-point offset", faulty),
        Mutant("known:right", KERNEL, "known", 1, "a line more", text + "\n"),
        Mutant("known:unbuilt", KERNEL, "known", 1, "not run", "1 +"),
    ]
    scored = {"known:wrong": "corpus", "known:right": "survives", "known:unbuilt": "not built"}
    wrong, right = Matrix(scorer).rows(mutants, scored, museum=False)
    assert (wrong.name, right.name) == ("known:wrong", "known:right")
    assert {"exact", "onehot", "randn"} <= wrong.oracles
    assert all(kill.line.startswith("m") for kill in wrong.kills)
    assert not right.kills
