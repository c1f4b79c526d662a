"""The mutants: operators do what they say, the list is up to date, nobody survives unnoticed."""

import ast
from collections import Counter

import pytest

from tests.bugs.table import read_bugs
from tests.mutants import listing
from tests.mutants.known import KNOWN, known_mutants, read_patches
from tests.mutants.ledger import MOST_SAME, SAME, read_ledger
from tests.mutants.rules import OPERATORS
from tests.mutants.sites import ROOT, mutants_of

AGAIN = "write it again: python -m tests.mutants --list"
OWN_AREAS = ("triton", "autotuner", "packing", "quantlinear", "exllama")
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
            if path.endswith(".py"):
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
    ("barrier-unguarded", "with lock:\n    f()", ["if True:\n    f()"]),
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
    made = mutants_of("kernels/a.py", f"{code}\n")
    assert not [m.change for m in made if m.operator not in ("order", "exception")]


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
        ("ZZ-01 a tail", "want `IDS"),
        ("ZZ-01 | a tail", "want changes"),
        ("ZZ-01 | a tail\nin a.py\n? x", "want `in FILE`"),
        ("ZZ-01 | none: no tails\nin a.py\n- x", "want changes"),
    ],
)
def test_a_malformed_patch_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        read_patches(text)


def test_the_ledger_holds_few_and_only_what_is_scored(scored):
    ledger, ids = read_ledger(), {mutant.id for mutant in scored}
    assert ledger.keys() <= ids, sorted(ledger.keys() - ids)
    same = sum(entry.kind == SAME for entry in ledger.values())
    assert same <= MOST_SAME * len(scored)


@pytest.mark.parametrize(
    "text",
    [
        "a:b",
        "a | same",
        "a | other | why",
        "a | same | x\na | gpu | y | z",
        "a | gpu | y",
        "a | same | x | z",
    ],
)
def test_a_malformed_ledger_is_refused(text):
    with pytest.raises(ValueError, match=r"want `ID|two lines"):
        read_ledger(text)
