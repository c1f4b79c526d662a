"""The mutants: operators do what they say, the list is up to date, nobody survives unnoticed."""

import ast
import signal
import time
from collections import Counter

import pytest

from tests.bugs.table import read_bugs
from tests.mutants import listing, report
from tests.mutants.cache import Cache
from tests.mutants.known import KNOWN, known_mutants, mutants, read_patches
from tests.mutants.ledger import MOST_SAME, SAME, read_ledger
from tests.mutants.outcome import Outcome
from tests.mutants.processes import Processes
from tests.mutants.rules import OPERATORS
from tests.mutants.score import BrokenBaseline, Scorer
from tests.mutants.scratch import Tree
from tests.mutants.sites import ENUMERATORS, ROOT, mutants_of
from tests.mutants.stages import Stage, file_stage

AGAIN = "write it again: python -m tests.mutants --list"
OWN_AREAS = ("triton", "autotuner", "packing", "quantlinear")
PARTS_A_AND_C = ("PK", "GI", "MK", "OV", "AC", "LY", "BF", "ST", "DT", "AT", "PF", "L")


@pytest.fixture(scope="module")
def scored():
    return listing.scored()


def test_the_list_is_what_the_rules_make():
    assert listing.LIST.read_text() == listing.current(), f"{listing.LIST} is out of date, {AGAIN}"


def test_every_operator_and_area_has_enough_mutants(scored):
    operators, areas = Counter(m.operator for m in scored), Counter(m.area for m in scored)
    assert all(operators[name] >= 8 for name in OPERATORS), operators
    assert all(areas[name] >= 25 for name in listing.QUOTA), areas


def test_every_mutant_differs_from_the_code_and_parses(scored):
    for mutant in scored:
        for path, text in mutant.changed.items():
            assert text != (ROOT / path).read_text()
            ast.parse(text)
    assert len({mutant.id for mutant in scored}) == len(scored)


SNIPPETS = [
    # variant, code, what the mutants turn it into
    ("boundary-relation", "a < b", ["a <= b"]),
    ("boundary-relation", "0 <= a < b", ["0 < a < b", "0 <= a <= b"]),
    ("boundary-extreme", "min(a, b)", ["max(a, b)"]),
    ("boundary-floor", "tl.cdiv(a, b)", ["((a) // (b))"]),
    ("boundary-off-by-one", "range(0, K, B)", ["range(0, K + 1, B)"]),
    ("boundary-off-by-one", "a[:k]", ["a[:k + 1]"]),
    ("mask-dropped", "tl.load(p, mask=m, other=0)", ["tl.load(p, mask=None, other=None)"]),
    ("mask-filled", "tl.load(p, mask=m, other=0)", ["tl.load(p, mask=m, other=1)"]),
    ("mask-weakened", "(a < b) & (c < d)", ["(a < b)", "(c < d)"]),
    ("mask-chosen", "torch.where(c, a, b)", ["(a)", "(b)"]),
    ("mask-unclamped", "q.clamp(0, 15)", ["(q)"]),
    ("mask-quantifier", "x.all()", ["x.any()"]),
    ("arithmetic-operator", "a // b", ["a * b"]),
    ("arithmetic-bits", "a >> b", ["a << b"]),
    ("arithmetic-augmented", "a += b", ["a -= b"]),
    ("arithmetic-sign", "f(-a)", ["f((a))"]),
    ("constant-plus", "a = 4", ["a = (4 + 1)"]),
    ("constant-minus", "a = 4", ["a = (4 - 1)"]),
    ("constant-flag", "a = True", ["a = False"]),
    ("constant-option", "f(a=3)", ["f(a=(3 + 1))"]),
    ("order-unguarded", "with lock:\n    f()", ["if True:\n    f()"]),
    ("order-unsorted", "sorted(a)", ["list(a)"]),
    ("dtype-narrowed", "tl.zeros(s, tl.float32)", ["tl.zeros(s, tl.float16)"]),
    ("dtype-cast-dropped", "a.to(tl.float32)", ["(a)"]),
    ("dtype-cast-dropped", "a.float()", ["(a)"]),
    ("index-axis", "a[:, None]", ["a[None, :]"]),
    ("index-position", "x.shape[1]", ["x.shape[0]"]),
    ("index-swapped", "f(a, b)", ["f(b, a)"]),
    ("index-transposed", "a.t()", ["(a)"]),
    ("hook-lost", "f(config.pre_hook)", ["f(None)"]),
    ("hook-skipped", "self._prepare(a)", ["pass"]),
    ("hook-unregistered", "@op.register_fake\ndef f(): pass", ["\ndef f(): pass"]),
    ("cachekey-component", "key = (a, b)", ["key = (None, b)", "key = (a, None)"]),
    ("cachekey-entry", "identity = {'a': b}", ["identity = {'a': None}"]),
    ("cachekey-ignored", "a.key == key", ["(True)"]),
    ("statement-deleted", "f(a)", ["pass"]),
    ("statement-deleted", "a.b = c", ["pass"]),
    ("condition-negated", "if a:\n    f()", ["if not (a):\n    f()"]),
    ("condition-operand", "a and b", ["True and b", "a and True"]),
    ("condition-connective", "a or b", ["a and b"]),
    ("condition-opposite", "a is None", ["a is not None"]),
    ("condition-filter", "[a for a in b if a]", ["[a for a in b if True]"]),
    ("default-changed", "def f(a=None): pass", ["def f(a=0): pass"]),
    ("default-given", "a.get(b, 1)", ["a.get(b, (1 + 1))"]),
    ("exception-check-deleted", "if a:\n    raise E", ["if False:\n    raise E"]),
    ("exception-call-deleted", "checks.f(a)", ["pass"]),
    ("exception-handler-dropped", "try: f()\nexcept E: g()", ["try: f()\nexcept (): g()"]),
]


@pytest.mark.parametrize(("variant", "code", "wanted"), SNIPPETS)
def test_an_operator_does_what_it_says(variant, code, wanted):
    made = mutants_of("kernels/a.py", f"{code}\n")
    assert [m.source.rstrip("\n") for m in made if f":{variant}:" in m.id] == wanted


SILENT = [
    '"""A docstring of 3 lines."""',
    "raise ValueError(f'{a + 1} is below {b}')",
    "def f(a: 1 < 2) -> 3: pass",
    "a = f'{b + 1}'",
    "import a",
    "x = a",
    "'a' + b",
]


@pytest.mark.parametrize("code", SILENT)
def test_what_no_call_can_notice_is_left_alone(code):
    assert not [m.change for m in mutants_of("kernels/a.py", f"{code}\n") if m.operator != "order"]


def test_ids_do_not_depend_on_what_stands_elsewhere():
    code = "def f(a):\n    return a + 1\n"
    before = {m.id for m in mutants_of("kernels/a.py", code)}
    after = {m.id for m in mutants_of("kernels/a.py", f"def g():\n    return 2 - 1\n\n\n{code}")}
    assert before
    assert before < after


def test_every_known_bug_of_our_code_has_a_mutant_or_a_reason():
    patches = read_patches(KNOWN.read_text())
    named = {name for patch in patches for name in patch.ids}
    bugs = {b.id for b in read_bugs() if b.area in OWN_AREAS}
    ours = {name for name in bugs if name.partition("-")[0] in PARTS_A_AND_C}
    assert named == ours
    assert known_mutants()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("L-01 a tail", "want `IDS"),
        ("L-01 | a tail", "want changes"),
        ("L-01 | a tail\nin a.py\n? x", "want `in FILE`"),
        ("L-01 | none: no tails\nin a.py\n- x", "want changes"),
    ],
)
def test_a_malformed_patch_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        read_patches(text)


def test_a_patch_whose_text_is_gone_is_refused(small):
    (patch,) = read_patches("L-01 | a tail\nin small.py\n- no such line")
    with pytest.raises(ValueError, match="once, not 0 times"):
        mutants([patch], small)
    (patch,) = read_patches("L-01 | a tail\nin small.py\n-     return a + b\n+     return a")
    assert "return a\n" in mutants([patch], small)[0].source


def test_other_kinds_of_sources_have_a_place(monkeypatch):
    """The seam for patterns over CUDA sources."""
    monkeypatch.setitem(ENUMERATORS, ".cu", ENUMERATORS[".py"])
    assert [m.id for m in mutants_of("kernels/exllama_ext/a.cu", "a < b")] == [
        "exllama_ext/a.cu:module:boundary-relation:1"
    ]
    assert not mutants_of("kernels/a.unknown", "a < b")


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


def run_stage(tree, action, limit=20.0):
    processes = Processes(tree, 1)
    processes.start(None, Stage("a stage", (), action), {}, limit)
    ((_, outcome),) = processes.finished()
    return outcome


def endless(tell):
    tell(at="a line")
    time.sleep(600)


def dying(tell):
    tell(at="a line")
    signal.raise_signal(signal.SIGKILL)


def raising(tell):
    raise KeyError("no")


@pytest.mark.parametrize(
    ("action", "verdict", "where"),
    [(endless, "TIMED_OUT", "a line"), (dying, "CRASHED", "a line"), (raising, "RAISED", "")],
)
def test_a_mutant_that_hangs_dies_or_raises_is_killed(tree, action, verdict, where):
    outcome = run_stage(tree, action, limit=2.0)
    assert (outcome.verdict, outcome.where) == (verdict, where)


def test_a_stage_sees_the_copy_and_nothing_that_was_imported_before(tree):
    def where(tell):
        import kernels

        return Outcome("where", message=kernels.__file__)

    assert str(tree.template.parent) in run_stage(tree, where).message


def test_the_ledger_holds_few_and_only_what_is_scored(scored):
    ledger, ids = read_ledger(), {mutant.id for mutant in scored}
    assert ledger.keys() <= ids, sorted(ledger.keys() - ids)
    same = sum(entry.kind == SAME for entry in ledger.values())
    assert same <= MOST_SAME * len(scored)


@pytest.mark.parametrize(
    "text", ["a:b", "a | same", "a | other | why", "a | same | x\na | gpu | y"]
)
def test_a_malformed_ledger_is_refused(text):
    with pytest.raises(ValueError, match=r"want `ID|two lines"):
        read_ledger(text)
