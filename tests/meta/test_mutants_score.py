"""Scoring of mutants: a fault is killed, a survivor is reported, what is known is not run again."""

import signal
import time

import pytest

from tests.mutants import probes, processes, proof, report
from tests.mutants.cache import Cache
from tests.mutants.known import mutants, read_patches
from tests.mutants.ledger import read_ledger
from tests.mutants.outcome import Outcome
from tests.mutants.score import BrokenBaseline, Scorer
from tests.mutants.scratch import Tree
from tests.mutants.sites import mutants_of
from tests.mutants.stages import Stage, file_stage

SMALL = """def add(a, b):
    log = []
    log.append(a)
    return a + b
"""


@pytest.fixture
def small(tmp_path):
    """The root of a tree with one file under test and one test."""
    root = tmp_path / "root"
    (root / "kernels").mkdir(parents=True)
    (root / "tests").mkdir()
    (root / "kernels" / "__init__.py").write_text("")
    (root / "kernels" / "small.py").write_text(SMALL)
    (root / "tests" / "test_small.py").write_text(
        "from kernels.small import add\n\n\ndef test_it():\n    assert add(1, 2) == 3\n"
    )
    (root / "pyproject.toml").write_text('[tool.pytest.ini_options]\npythonpath = ["."]\n')
    return root


@pytest.fixture
def tree(small):
    tree = Tree(small)
    yield tree
    tree.remove()


def stages_of(mutant, root):
    return [file_stage("tests/test_small.py", options=())]


def small_mutants(*variants):
    made = mutants_of("kernels/small.py", SMALL)
    return [mutant for mutant in made if any(f":{v}:" in mutant.id for v in variants)]


def score(tree, cache, *variants, watch=lambda trials: None):
    scorer = Scorer(tree, cache, jobs=2, watch=watch, plan=stages_of)
    return scorer.score(small_mutants(*variants))


def files_of(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_fault_is_killed_and_a_planted_survivor_is_reported(tree, small, tmp_path):
    before = files_of(small)
    trials = score(tree, Cache(tmp_path / "c"), "arithmetic-operator", "statement-deleted")
    result = report.Result(trials, {})
    assert [t.mutant.operator for t in result.killed] == ["arithmetic"]
    assert result.killed[0].kill.where == "tests/test_small.py::test_it"
    assert [t.mutant.operator for t in result.unexplained] == ["statement"]
    assert report.exit_status(result) == 1
    assert files_of(small) == before


def test_a_planted_equivalent_needs_its_line_in_the_ledger(tree, tmp_path):
    trials = score(tree, Cache(tmp_path / "c"), "statement-deleted")
    assert report.exit_status(report.Result(trials, {})) == 1
    line = f"{trials[0].mutant.id} | same | nobody reads the log"
    result = report.Result(trials, read_ledger(line))
    assert [trial.mutant.operator for trial in result.same] == ["statement"]
    assert report.exit_status(result) == 0


def test_a_line_of_the_ledger_that_a_test_refutes_fails_the_run(tree, tmp_path):
    trials = score(tree, Cache(tmp_path / "c"), "arithmetic-operator")
    line = f"{trials[0].mutant.id} | same | so they say"
    assert report.exit_status(report.Result(trials, read_ledger(line))) == 1


def test_what_is_known_is_not_run_again(tree, tmp_path):
    first = score(tree, Cache(tmp_path / "c"), "arithmetic-operator")
    steps = []
    again = score(tree, Cache(tmp_path / "c"), "arithmetic-operator", watch=steps.append)
    assert not steps
    assert [t.outcomes for t in again] == [t.outcomes for t in first]


def test_another_test_makes_what_is_known_void(tree, small, tmp_path):
    score(tree, Cache(tmp_path / "c"), "arithmetic-operator")
    (small / "tests" / "test_small.py").write_text("def test_it():\n    pass\n")
    other = Tree(small)
    (trial,) = score(other, Cache(tmp_path / "c"), "arithmetic-operator")
    other.remove()
    assert trial.kill is None


def test_a_test_that_fails_without_a_mutant_ends_the_run(tree, small, tmp_path):
    (small / "tests" / "test_small.py").write_text("def test_it():\n    assert False\n")
    broken = Tree(small)
    with pytest.raises(BrokenBaseline, match=r"test_small.py fails without any mutant"):
        score(broken, Cache(tmp_path / "c"), "arithmetic-operator")
    broken.remove()


def sums(seed):
    """A probe: what `add` gives for one number after another."""
    from kernels.small import add

    yield from (b"%d" % add(seed, number) for number in range(100))


def products(seed):
    """A probe that never comes to `add`."""
    yield from (b"%d" % (seed * number) for number in range(100))


def prove(tree, path, monkeypatch, variant, *names, **options):
    for probe in (sums, products):
        monkeypatch.setitem(probes.PROBES, probe.__name__, (probe, ("kernels",)))
    monkeypatch.setattr(proof, "probes_of", lambda area, path: names)
    return proof.prove(small_mutants(variant), Scorer(tree, Cache(path), jobs=2), **options)


@pytest.mark.parametrize(
    ("variant", "differs"), [("arithmetic-operator", "seed 1"), ("statement-deleted", "")]
)
def test_only_what_gives_the_same_bits_is_called_the_same(
    tree, tmp_path, monkeypatch, variant, differs
):
    (found,) = prove(tree, tmp_path / "c", monkeypatch, variant, "sums", parts=2)
    assert (found.cases, found.differs, found.reach, found.whole) == (800, differs, "reached", True)
    assert proof.unproven([found]) == ([found.mutant.id] if differs else [])


def test_a_probe_that_never_comes_to_the_mutant_proves_nothing(tree, tmp_path, monkeypatch):
    asked = (tree, tmp_path / "c", monkeypatch, "statement-deleted")
    (past,) = prove(*asked, "products", parts=1)
    assert (past.differs, past.reach) == ("", "not reached")
    assert proof.unproven([past]) == [past.mutant.id]
    assert not proof.unproven(prove(*asked, "products", "sums", parts=1))


def test_a_proof_goes_on_where_it_was_broken_off(tree, tmp_path, monkeypatch):
    asked = (tree, tmp_path / "c", monkeypatch, "statement-deleted", "sums")
    (none,) = prove(*asked, parts=2, until=lambda: True)
    assert (none.cases, none.reach, none.holds) == (0, "not asked", False)
    (half,) = prove(*asked, parts=1)
    steps = []
    (whole,) = prove(*asked, parts=2, watch=lambda *step: steps.append(step))
    assert (half.cases, whole.cases) == (400, 800)
    assert steps == [(1, 2), (2, 2)]


def run_stage(tree, action, limit=20.0, ends=float("inf")):
    children = processes.Processes(tree, 1, ends)
    children.start(None, Stage("a stage", (), action), {}, limit)
    return next((outcome for _, outcome in children.finished()), None)


def waiting(tell):
    tell(at="a line")
    time.sleep(600)


def spinning(tell):
    tell(at="a line")
    while True:
        pass


def dying(tell):
    tell(at="a line")
    signal.raise_signal(signal.SIGKILL)


def raising(tell):
    raise KeyError("no")


@pytest.mark.parametrize(
    ("action", "verdict", "where"),
    [
        (waiting, "TIMED_OUT", "a line"),
        (spinning, "TIMED_OUT", "a line"),
        (dying, "CRASHED", "a line"),
        (raising, "RAISED", ""),
    ],
)
def test_a_mutant_that_hangs_dies_or_raises_is_killed(tree, monkeypatch, action, verdict, where):
    monkeypatch.setattr(processes, "STALLED", 4.0)
    outcome = run_stage(tree, action, limit=2.0)
    assert (outcome.verdict, outcome.where) == (verdict, where)


def test_what_is_not_done_in_time_has_no_outcome(tree):
    assert run_stage(tree, waiting, ends=time.monotonic() + 1) is None


def test_a_stage_sees_the_copy_and_nothing_that_was_imported_before(tree):
    def where(tell):
        import kernels

        return Outcome("where", message=kernels.__file__)

    assert str(tree.template.parent) in run_stage(tree, where).message


def test_a_patch_whose_text_is_gone_is_refused(small):
    (patch,) = read_patches("ZZ-01 | a tail\nin small.py\n- no such line")
    with pytest.raises(ValueError, match="once, not 0 times"):
        mutants([patch], small)
    (patch,) = read_patches("ZZ-01 | a tail\nin small.py\n-     return a + b\n+     return a")
    assert "return a\n" in mutants([patch], small)[0].source
