"""Where wrong elements lie, and which single substitution explains them, in the right words."""

import pytest
import torch

from gptq_fuzz.case.backend import Numerics
from gptq_fuzz.case.case import Case
from gptq_fuzz.oracle.decode import ENOUGH, Wrong, explain, explanation
from gptq_fuzz.oracle.judge import Expected
from gptq_fuzz.oracle.locate import locate
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.problem.rounding import F16, round_to
from reference.matmul import dequantize

EVERY = slice(None)
PLACES = [
    # rows, columns, and the words for them in a result of 17 rows and 40 columns
    (EVERY, EVERY, "all rows; all columns"),
    (16, EVERY, "row 16 only (tail of 17 % 16); all columns"),
    (slice(15, 17), EVERY, "rows 15 to 16 only; all columns"),
    (EVERY, slice(32, 40), "all rows; columns 32 to 39 only (tail of 40 % 32)"),
    (EVERY, 39, "all rows; column 39 only"),
    (EVERY, slice(3, 40, 8), "all rows; every column in field 3 of 8 of a word"),
    (slice(0, 17, 4), 0, "every 4th row from 0; column 0 of 40"),
    (5, [7, 9], "row 5 of 17; columns 7, 9 of 40"),
    ([0, 1, 5, 6, 9, 12], 1, "rows 0, 1, 5, 6 and 2 more of 17; column 1 of 40"),
]


def problem(case_line):
    operands = Operands(Case.parse(case_line), "cpu")
    weights = operands.weights()
    weights.pop("bias")
    numerics = Numerics(weights=("x",), folds_zero=False)
    return operands, Expected(operands, dequantize(**weights), numerics, 0)


@pytest.mark.parametrize(("rows", "columns", "words"), PLACES)
def test_places_are_told_in_words(rows, columns, words):
    case = Case.parse("m17-n40-k64-b4-g16")
    wrong = torch.zeros(17, 40, dtype=torch.bool)
    wrong[rows, columns] = True
    assert locate(wrong, None, case) == words


def test_a_single_row_and_a_single_group_are_called_the_only_ones():
    operands, _ = problem("m1-n8-k64-b4-gall-onehot")
    words = locate(torch.ones(1, 8, dtype=torch.bool), operands.values, operands.case)
    assert words == "the only row; all columns; the only group"


def test_groups_are_told_where_a_row_touches_few():
    operands, _ = problem("m9-n8-k64-b4-g16-onehot")
    touched = operands.values.left.abs().argmax(1) // 16
    for row in range(9):
        wrong = torch.zeros(9, 8, dtype=torch.bool)
        wrong[row] = True
        words = locate(wrong, operands.values, operands.case)
        assert words.endswith(f"; group {touched[row]} of 4") or words.endswith("; group 3 only")


def substituted(operands, change):
    """The result of a kernel that takes other codes, zero-points or scales, by `change(values)`."""
    values = operands.values
    parts = {
        "codes": values.codes.clone(),
        "zeros": values.zeros[values.g_idx],
        "scales": values.scales[values.g_idx],
    }
    change(parts, values)
    weight = (parts["codes"] - parts["zeros"]) * parts["scales"]
    return round_to(values.left @ round_to(weight, F16), F16)


def first_group_scale(parts, values):
    parts["scales"] = values.scales[:1].expand_as(parts["scales"])


def larger_zero(parts, _values):
    parts["zeros"] = parts["zeros"] + 1


def unwrapped_zero(parts, values):
    parts["zeros"] = torch.where(parts["zeros"] == 0, 256, parts["zeros"])


def next_code_row(parts, values):
    parts["codes"] = values.codes.roll(-1, 0)


def next_column_scale(parts, values):
    parts["scales"] = parts["scales"].roll(-1, 1)


def next_column(parts, values):
    for name in ("codes", "zeros", "scales"):
        parts[name] = parts[name].roll(-1, 1)


EXPLAINED = [
    (first_group_scale, "the scale of group 0 for groups 1, 2, 3"),
    (larger_zero, "zero-points one higher"),
    (unwrapped_zero, "zero-point 256 for 0"),
    (next_column_scale, "the scale of the column 1 after"),
    (next_code_row, "the code of the k 1 after"),
    (next_column, "the column 1 after"),
]


@pytest.mark.parametrize(("change", "words"), EXPLAINED)
def test_a_single_substitution_is_named(change, words):
    operands, expected = problem("m9-n16-k16-b8-g4-lanes-s1")
    finding = expected.check(substituted(operands, change))
    assert finding.count
    assert words == explain(finding, operands)


def test_a_zero_point_off_by_one_is_told_with_both_numbers():
    operands, expected = problem("m9-n16-k16-b8-g4-zsym-lanes")
    finding = expected.check(substituted(operands, larger_zero))
    assert explain(finding, operands) == "zero-point 129 for 128"


def test_the_wrong_group_is_told_with_both_numbers():
    operands, expected = problem("m9-n16-k16-b8-g4-zsym-lanes")
    finding = expected.check(substituted(operands, first_group_scale))
    only = torch.arange(9)[:, None] == int((operands.values.left.argmax(1) // 4).argmax())
    finding.wrong &= only
    assert explain(finding, operands) == "the scale of group 0 for group 3"


@pytest.mark.parametrize("case_line", ["m9-n16-k64-b4-g16-randn", "m9-n16-k64-b4-g16-bias-lanes"])
def test_nothing_is_claimed_where_an_output_is_not_one_product(case_line):
    operands, expected = problem(case_line)
    finding = expected.check(expected.references[0] + 1000)
    assert explain(finding, operands) == ""


def test_nothing_is_claimed_for_a_value_that_no_substitution_gives():
    operands, expected = problem("m9-n16-k64-b4-g16-lanes")
    finding = expected.check(torch.full_like(expected.references[0], 12345.0))
    assert explain(finding, operands) == ""


def test_the_same_wrong_weight_again_and_again_is_not_several():
    """One weight may fit any of some thousand substitutions, however often it is met."""
    operands, _ = problem("m9-n16-k16-b8-g4-zsym-lanes")
    values = operands.values

    def wrong(places):
        k, n = (torch.tensor(numbers) for numbers in zip(*places, strict=True))
        same = torch.zeros_like(k)
        group = values.g_idx[k]
        weight = (values.codes[k, n] - values.zeros[group, n] - 1) * values.scales[group, n]
        out = round_to(weight, F16)
        rows = torch.zeros(len(k), 9, dtype=torch.int64)
        return Wrong(operands.case, [values], same, same, k, n, torch.ones(len(k)), out, rows)

    several = [(0, 0), (1, 1), (2, 2), (5, 3)]
    assert explanation(wrong(several)) == "zero-point 129 for 128"
    assert explanation(wrong(several[: ENOUGH - 1] * 2)) == ""
