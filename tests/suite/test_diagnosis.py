"""Where wrong elements lie, and the one substitution behind them, in an engineer's words."""

import pytest
import torch

from gptq_fuzz._checkout import ROOT
from gptq_fuzz.case.backend import Backend, Limits, Numerics, from_callable
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.checks import RIGHT_ALONE
from gptq_fuzz.oracle import diagnosis
from gptq_fuzz.oracle.decode import ENOUGH, Wrong, explain, explanation
from gptq_fuzz.oracle.diagnosis import diagnosed
from gptq_fuzz.oracle.examination import Examination, Request
from gptq_fuzz.oracle.locate import locate
from gptq_fuzz.problem.rounding import F16, round_to
from gptq_fuzz.search.claims import must_pass_shrunk
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.search import Failure
from gptq_fuzz.worker.supervisor import Launch
from tests.suite.helpers import Judged
from tests.suite.model_kernels import operands

pytestmark = pytest.mark.turns(3)

LINE = "m4-n16-k32-b4-g8-act-randn"
SEQUENTIAL = "m17-n16-k48-b4-g16-randn"
NUMERICS = Numerics(weights=("x",), folds_zero=False)
EVERY = slice(None)
PLACES = [
    # rows, columns, and the words for them in a result of 17 rows and 40 columns
    (EVERY, EVERY, "all rows; all columns"),
    (16, EVERY, "row 16 only (tail of 17 % 16); all columns"),
    (slice(15, 17), EVERY, "rows 15 to 16 only; all columns"),
    (EVERY, slice(32, 40), "all rows; columns 32 to 39 only (tail of 40 % 32)"),
    (EVERY, 39, "all rows; column 39 only"),
    (EVERY, slice(3, 40, 8), "all rows; every column in field 3 of 8 of a word"),
    (slice(0, 17, 4), 0, "one row in 4, from 0; column 0 of 40"),
    (5, [7, 9], "row 5 of 17; columns 7, 9 of 40"),
    ([0, 1, 5, 6, 9, 12], 1, "rows 0, 1, 5, 6 and 2 more of 17; column 1 of 40"),
]


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """However busy the machine is."""
    monkeypatch.setattr(diagnosis, "SECONDS", 600.0)


@pytest.mark.parametrize(("rows", "columns", "words"), PLACES)
def test_places_are_named_in_words(rows, columns, words):
    wrong = torch.zeros(17, 40, dtype=torch.bool)
    wrong[rows, columns] = True
    assert locate(wrong, None, Case.parse("m17-n40-k64-b4-g16")) == words


def test_a_single_row_and_a_single_group_are_called_the_only_ones():
    one = Judged("m1-n8-k64-b4-gall-onehot").operands
    words = locate(torch.ones(1, 8, dtype=torch.bool), one.values, one.case)
    assert words == "the only row; all columns; the only group"


def test_groups_are_named_where_a_row_touches_few():
    nine = Judged("m9-n8-k64-b4-g16-onehot").operands
    touched = nine.values.left.abs().argmax(1) // 16
    for row in range(9):
        wrong = torch.zeros(9, 8, dtype=torch.bool)
        wrong[row] = True
        words = locate(wrong, nine.values, nine.case)
        assert words.endswith(f"; group {touched[row]} of 4") or words.endswith("; group 3 only")


def first_rows(values, g_idx):
    """[K, N] of each row's group -> [G, N]."""
    return torch.stack([values[g_idx == group][0] for group in range(int(g_idx.max()) + 1)])


def of_first_group(values, g_idx):
    return first_rows(values, g_idx)[:1].expand_as(values)


def at(places, right, wrong):
    """`wrong` in these rows of K, `right` elsewhere."""
    return torch.where(places[:, None], wrong, right)


K = torch.arange(32)
CHANGES = {
    # words -> q, z, s, each [K, N], and g_idx to what a faulty kernel uses in their place
    "zero-points one higher": lambda q, z, s, g: (q, z + 1, s),
    "zero-points one lower": lambda q, z, s, g: (q, z - 1, s),
    "zero-point 16 for 0": lambda q, z, s, g: (q, torch.where(z == 0, 16, z), s),
    "codes as signed numbers": lambda q, z, s, g: (torch.where(q > 7, q - 16, q), z, s),
    "scales rounded to bfloat16": lambda q, z, s, g: (q, z, s.bfloat16().double()),
    "the scale of group 0 for groups 1, 2, 3": lambda q, z, s, g: (q, z, of_first_group(s, g)),
    "the zero-point of group 0 for groups 1, 2, 3": lambda q, z, s, g: (
        (q, of_first_group(z, g), s)
    ),
    "group k // group size": lambda q, z, s, g: (
        (q, first_rows(z, g)[K // 8], first_rows(s, g)[K // 8])
    ),
    "the code of the k 1 after": lambda q, z, s, g: (q.roll(-1, 0), z, s),
    "the code of k ^ 1": lambda q, z, s, g: (q[K ^ 1], z, s),
    "the code of the column 1 before": lambda q, z, s, g: (q.roll(1, 1), z, s),
    "the zero-point of the column 1 after": lambda q, z, s, g: (q, z.roll(-1, 1), s),
    "the product left out": lambda q, z, s, g: (q, z, at(K == 31, s, 0 * s)),
    "the zero-point subtracted in 4 bits with a sign": lambda q, z, s, g: (
        ((q - z + 8) % 16 - 8, 0 * z, s)
    ),
    "the zero-point subtracted in 8 bits without a sign": lambda q, z, s, g: (
        ((q - z) % 256, 0 * z, s)
    ),
    "the zero-point subtracted without a sign, cut at 0": lambda q, z, s, g: (
        ((q - z).clamp(min=0), 0 * z, s)
    ),
    "the code of k with even fields first in each word": lambda q, z, s, g: (
        (q.view(-1, 8, 16)[:, [0, 2, 4, 6, 1, 3, 5, 7]].reshape(q.shape), z, s)
    ),
    "the code of the next field of the same word of k": lambda q, z, s, g: (
        (q.view(-1, 8, 16).roll(-1, 1).reshape(q.shape), z, s)
    ),
    "the code of k 1 after in the column 1 before": lambda q, z, s, g: (
        (q.roll((-1, 1), (0, 1)), z, s)
    ),
}
IN_ONE_RESULT = {
    words: CHANGES[words]
    for words in (
        "zero-points one higher",
        "the code of the k 1 after",
        "the scale of group 0 for groups 1, 2, 3",
    )
} | {
    "zero-point 256 for 0": lambda q, z, s, g: (q, torch.where(z == 0, 256, z), s),
    "the scale of the column 1 after": lambda q, z, s, g: (q, z, s.roll(-1, 1)),
    "the column 1 after": lambda q, z, s, g: (q.roll(-1, 1), z.roll(-1, 1), s.roll(-1, 1)),
}


def mismatch_of(judged, change):
    """Of a kernel that uses other codes, zero-points or scales."""
    values = judged.operands.values
    g_idx = values.g_idx
    q, z, s = change(values.codes, values.zeros[g_idx], values.scales[g_idx], g_idx)
    weight = judged.rounded((q - z) * s)
    return judged.expected.check(judged.rounded(judged.left @ weight))


@pytest.mark.parametrize("words", IN_ONE_RESULT)
def test_a_single_substitution_is_named(words):
    judged = Judged("m9-n16-k16-b8-g4-lanes-s1", NUMERICS)
    mismatch = mismatch_of(judged, IN_ONE_RESULT[words])
    assert mismatch.count
    assert explain(mismatch, judged.operands) == words


def test_numbers_are_given_where_there_is_one_pair_of_them():
    judged = Judged("m9-n16-k16-b8-g4-zsym-lanes", NUMERICS)
    mismatch = mismatch_of(judged, CHANGES["zero-points one higher"])
    assert explain(mismatch, judged.operands) == "zero-point 129 for 128"
    mismatch = mismatch_of(judged, CHANGES["the scale of group 0 for groups 1, 2, 3"])
    mismatch.wrong &= torch.arange(9)[:, None] == int((judged.left.argmax(1) // 4).argmax())
    assert explain(mismatch, judged.operands) == "the scale of group 0 for group 3"


UNEXPLAINED = {
    # an output that is not one product, or that no substitution gives
    "m9-n16-k64-b4-g16-randn": lambda right: right + 1000,
    "m9-n16-k64-b4-g16-bias-lanes": lambda right: right + 1000,
    "m9-n16-k64-b4-g16-lanes": lambda right: torch.full_like(right, 12345.0),
}


@pytest.mark.parametrize("line", UNEXPLAINED)
def test_nothing_is_claimed_where_no_substitution_is_certain(line):
    judged = Judged(line, NUMERICS)
    mismatch = judged.expected.check(UNEXPLAINED[line](judged.expected.references[0][0]))
    assert explain(mismatch, judged.operands) == ""


def test_the_same_wrong_weight_again_and_again_is_not_several():
    """One weight may fit any of some thousand substitutions, however often it is met."""
    symmetric = Judged("m9-n16-k16-b8-g4-zsym-lanes", NUMERICS).operands
    values = symmetric.values

    def wrong(places):
        k, n = (torch.tensor(numbers) for numbers in zip(*places, strict=True))
        same = torch.zeros_like(k)
        group = values.g_idx[k]
        weight = (values.codes[k, n] - values.zeros[group, n] - 1) * values.scales[group, n]
        out = round_to(weight, F16)
        rows = torch.zeros(len(k), 9, dtype=torch.int64)
        return Wrong(symmetric.case, [values], same, same, k, n, torch.ones(len(k)), out, rows)

    several = [(0, 0), (1, 1), (2, 2), (5, 3)]
    assert explanation(wrong(several)) == "zero-point 129 for 128"
    assert explanation(wrong(several[: ENOUGH - 1] * 2)) == ""


def kernel(change):
    """A right kernel but for `change(q, z, s, g_idx)`, which gives other q, z, s, each [K, N]."""

    def f(x, qweight, qzeros, scales, g_idx, bits):
        q, z, s = change(*operands(qweight, qzeros, scales, g_idx, bits), g_idx)
        return (x.double() @ ((q - z) * s)).to(x.dtype)

    return f


def right(q, z, s, _g_idx):
    return q, z, s


def look(f, line=LINE):
    backend = from_callable(f, "f")
    return diagnosed(lambda c: Examination(backend, c, "cpu", Request()), Case.parse(line))


GROUPS = {  # that kernels compute where they should look into g_idx, of K rows and G groups
    "group k % 5": lambda k, groups: k % groups,
    "group k, or the last": lambda k, groups: k,
    "group k // 16, a power of two below the group size": lambda k, groups: k >> 4,
    "group k // 32, a power of two above the group size": lambda k, groups: k >> 5,
    "group k // 20, all rows by the number of groups": lambda k, groups: k // (len(k) // groups),
    "group k // 8, the codes of a word": lambda k, groups: k // 8,
}


@pytest.mark.parametrize("operand", ["the scale of ", "the zero-point of ", ""])
@pytest.mark.parametrize("words", GROUPS)
def test_the_rule_of_a_group_that_is_computed_is_named(words, operand):
    def change(q, z, s, g):
        groups = int(g.max()) + 1
        chosen = GROUPS[words](torch.arange(len(g)), groups).clamp(max=groups - 1)
        zeros, scales = (first_rows(values, g)[chosen] for values in (z, s))
        return q, z if operand == "the scale of " else zeros, s if "zero" in operand else scales

    found = look(kernel(change), "m4-n16-k104-b4-g24-act-randn")
    assert found["explained"] == operand + words


@pytest.mark.parametrize("words", CHANGES)
def test_the_substitution_behind_a_wrong_result_is_named(words):
    assert look(kernel(CHANGES[words]))["explained"] == words


def test_rows_that_are_one_in_memory_are_asked_as_one():
    found = look(kernel(CHANGES["zero-points one higher"]), "m5-n16-k32-b4-g8-act-bcast-randn")
    assert found["explained"] == "zero-points one higher"


ROWS = torch.arange(48)
PATTERNS = {
    "all rows; k 32 to 47 only (the last group; tail of 48 % 32); all columns": ROWS >= 32,
    "all rows; every k in field 7 of 8 of a word; all columns": ROWS % 8 == 7,
    "all rows; k: the first of each group but the first of 16; all columns": (
        (ROWS % 16 == 0) & (ROWS > 0)
    ),
    "all rows; k 16 to 31 of 48 (block 1 of 16); all columns": ROWS // 16 == 1,
    "all rows; one k in 32, from 0; all columns": ROWS % 32 == 0,
}


@pytest.mark.parametrize("words", PATTERNS)
def test_the_pattern_along_k_is_reported(words):
    found = look(kernel(lambda q, z, s, g: (q, at(PATTERNS[words], z, z + 1), s)), SEQUENTIAL)
    assert found == {"explained": "zero-points one higher", "pattern": words}


def test_the_pattern_along_rows_and_columns_is_reported():
    def f(x, qweight, **more):
        out = kernel(right)(x, qweight, **more)
        out[16:, 8:] = 0
        return out

    pattern = "row 16 only (tail of 17 % 16); all k; columns 8 to 15 only"
    assert look(f, SEQUENTIAL) == {"explained": "the product left out", "pattern": pattern}


LONG = {
    # of 1024 rows of K in 256 groups, 160 are asked for
    "each that was asked for, 160 of 1024 k": lambda k: k >= 0,
    "k: the last of each group of 4 (160 were asked for)": lambda k: k % 4 == 3,
    "k 1020 to 1023 of 1024 (160 were asked for)": lambda k: k >= 1020,
}


@pytest.mark.parametrize("words", LONG)
def test_of_a_long_sum_some_weights_are_asked_for_at_the_borders_of_groups(words):
    wrong = LONG[words](torch.arange(1024))
    found = look(kernel(lambda q, z, s, g: (q, at(wrong, z, z + 1), s)), "m1-n8-k1024-b4-g4-randn")
    assert found["explained"] == "zero-points one higher"
    assert found["pattern"] == f"the only row; {words}; all columns"


def test_right_weights_of_a_long_sum_are_counted():
    assert (
        look(kernel(right), "m1-n8-k1024-b4-g4")["pattern"]
        == f"{RIGHT_ALONE} (160 of 1024 were asked for)"
    )


@pytest.mark.parametrize("group", [300, 511])
def test_a_group_far_away_is_found_too(group):
    def last(values, g_idx):
        return first_rows(values, g_idx)[group].expand_as(values)

    found = look(kernel(lambda q, z, s, g: (q, z, last(s, g))), "m1-n8-k1024-b4-g2-randn")
    assert (found["explained"] == "the scale of group 511 for others") == (group == 511)


@pytest.mark.parametrize("line", ["m2-n4-k4-b8-gall", "m5-n4-k4-b8-gall", "m9-n8-k320-b4-gall"])
def test_a_row_taken_for_another_shows_at_every_k(line):
    """However few weights there are: each row of x asks for another one."""

    def f(x, **more):
        x = x.clone()
        x[-1] = x[-2]
        return kernel(right)(x, **more)

    found = look(f, line)
    m = Case.parse(line).m
    assert found["explained"] in (f"x of row {m - 2} for row {m - 1}", "x of the row 1 before")
    assert f"row {m - 1} only" in found["pattern"] or line.startswith("m9")
    assert "; all k; all columns" in f"; {found['pattern']}" or line.startswith("m9")


def test_a_bias_is_there_when_weights_are_asked_for():
    def f(x, bias, group_size, checkpoint_format, **more):
        change = right if bias is None else CHANGES["zero-points one higher"]
        return kernel(change)(x, **more)

    backend = Backend("f", Limits(bias=True, bad=(), refuses_outside=False), matmul=f)
    case = Case.parse("m4-n16-k32-b4-g8-bias")
    found = diagnosed(lambda c: Examination(backend, c, "cpu", Request()), case)
    assert found["explained"] == "zero-points one higher"


def test_a_relation_names_what_it_asked():
    def f(x, qweight, **more):
        change = CHANGES["zero-points one higher"] if qweight.shape[1] == 96 else right
        return kernel(change)(x, qweight=qweight, **more)

    backend = from_callable(f, "f")
    case = Case.parse("m2-n192-k8-b4-gall")
    verdict = Examination(backend, case, "cpu", Request(("columns split",))).verdict()
    assert "(columns split: n96)" in verdict.message
    assert verdict.asked == "m2-n96-k8-b4-gall"
    found = diagnosed(
        lambda c: Examination(backend, c, "cpu", Request()), Case.parse(verdict.asked)
    )
    assert found["explained"] == "zero-points one higher"
    assert look(f, verdict.line)["pattern"] == RIGHT_ALONE


def test_rows_permuted_are_looked_at_so():
    def f(x, g_idx, **more):
        change = right if bool((g_idx.diff() >= 0).all()) else CHANGES["zero-points one higher"]
        return kernel(change)(x, g_idx=g_idx, **more)

    backend = from_callable(f, "f")
    asked = Case.parse("m4-n16-k32-b4-g8"), "rows permuted"
    found = diagnosed(lambda c: Examination(backend, c, "cpu", Request()), *asked)
    assert found["explained"] == "zero-points one higher"


def test_wrong_sums_of_right_weights_are_recognised():
    def f(x, **more):
        sums = kernel(right)(x, **more)
        return torch.where((x != 0).sum(1, keepdim=True) > 1, 2 * sums, sums)

    assert look(f) == {"explained": "", "pattern": RIGHT_ALONE}


def test_nothing_is_claimed_for_noise_or_for_a_kernel_that_raises():
    noise = torch.Generator()
    found = look(kernel(lambda q, z, s, g: (q, z, s * (1 + torch.rand(s.shape, generator=noise)))))
    assert found == {"explained": "", "pattern": "all rows; all k; all columns"}

    def f(**_):
        raise RuntimeError("no such path")

    assert look(f)["explained"] == look(f)["pattern"] == ""


REPORTED = {
    # It fails with rows of K permuted: they are asked for so
    "gidx_ignored": "explained by group k // group size\npattern: the only row; all k; all columns",
    "zero_off_by_one_last_group": "explained by zero-points one higher, wrapped\n"
    "pattern: the only row; all k; all columns\n"
    "in m7-n40-k64-b4-g32-randn: zero-points one higher, wrapped; "
    "all rows; k 32 to 63 only (the last group); all columns",
}


@pytest.mark.usefixtures("own_environment")
@pytest.mark.parametrize("name", REPORTED)
def test_a_report_holds_both_and_the_line_they_were_found_in(name):
    spec = str(ROOT / "gptq_fuzz" / "museum" / "faulty" / f"{name}.py:f")
    under_test = KernelUnderTest(Launch(spec, str(ROOT), device="cpu"), in_process=True)
    under_test.worker.wait_ready()
    with pytest.raises(Failure) as caught:
        must_pass_shrunk(under_test, Case.parse("m7-n40-k64-b4-g32-randn"))
    assert REPORTED[name] in str(caught.value)
