"""The judge as a library: right outputs pass whatever the data, wrong ones do not."""

import math
import warnings

import pytest
import torch

from gptq_fuzz import Numerics, verify
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.case import Case
from gptq_fuzz.museum.catalogue import correct, faulty
from gptq_fuzz.museum.parts import matmul
from gptq_fuzz.oracle import parts
from gptq_fuzz.oracle.judge import EXTRA_ROUNDINGS, TENSOR_CORE_BITS, Expected
from gptq_fuzz.problem.given import Problem
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.problem.rounding import F16, F32, spacing
from gptq_fuzz.worker.loader import load

LINE = "m17-n40-k96-b4-g32-act-randn-s1"
FAULTS = {  # on which operands an engine would have seen it
    "zero_not_wrapped": LINE,
    "gidx_ignored": LINE,
    "swapped_nibbles": LINE,
    "qzeros_ignored": LINE,
    "weights_bfloat16": "m17-n40-k64-b4-g32-act-onehot",
    "scales_bfloat16": LINE,
    "last_column_missing": LINE,
    "k_tail_dropped": "m3-n16-k136-b4-g8-randn",
    "boundary_group": "m5-n16-k96-b4-g12-randn",
    "strides_ignored": "m5-n16-k96-b4-g32-pad3-randn",
    "n_tail_dropped": "m5-n72-k96-b4-g32-randn",
    "zero_read_as_v2": LINE,
    "inf_saturated": "m9-n16-k64-b4-g32-big",
    "nan_hidden": "m9-n16-k64-b4-g32-nonfinite",
}
CORRECT = {exhibit.name: exhibit for exhibit in correct()}


def given(line):
    """x and the layer of a case, by keyword, as an engine would have them at hand."""
    operands = Operands(Case.parse(line), "cpu")
    return {"x": operands.left} | operands.weights()


def called(backend, operands):
    """What a kernel returns for them."""
    weights = {name: value for name, value in operands.items() if name != "x"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return backend.multiply(operands["x"], weights)


def plain(operands):
    """What the museum's right kernel returns."""
    names = ("x", "qweight", "qzeros", "scales", "g_idx", "bits")
    return matmul(**{name: operands[name] for name in names})


@pytest.fixture
def operands():
    return given(LINE)


@pytest.mark.parametrize("name", CORRECT)
@pytest.mark.parametrize("fill", ["randn", "big", "nonfinite"])
def test_right_kernels_pass(name, fill):
    backend = load(CORRECT[name].spec, ".")
    dtype, scales = backend.limits.dtypes[-1], backend.limits.scales_dtypes[-1]
    case = Case.parse(f"m17-n40-k96-b4-g32-act-{fill}-s2")
    case = case.replace(dtype=dtype, scales_dtype=scales, fill=fill)
    operands = given(str(case))
    verdict = verify(called(backend, operands), **operands, numerics=backend.numerics)
    assert verdict.ok, str(verdict)
    assert str(verdict) == kinds.PASS


@pytest.mark.parametrize("name", FAULTS)
def test_outputs_of_faulty_kernels_are_wrong(name):
    exhibit = next(exhibit for exhibit in faulty() if exhibit.name == name)
    operands = given(FAULTS[name])
    verdict = verify(called(load(exhibit.spec, "."), operands), **operands)
    assert verdict.kind == kinds.WRONG, str(verdict)
    assert verdict.ratio > 1
    assert "row" in verdict.where
    assert str(verdict).startswith("WRONG: ")


def test_a_large_result_is_judged_in_parts(operands, monkeypatch):
    monkeypatch.setattr(parts, "PART", 30_000)
    expected = parts.ExpectedParts(Problem(**operands), Numerics(), "cpu")
    assert expected._size() == (9, 8)
    out = plain(operands)
    assert verify(out, **operands).ok
    out[16, 39] += 1
    verdict = verify(out, **operands)
    assert verdict.where == "row 16 only (tail of 17 % 16); column 39 only"
    assert f"1 of 680 elements; worst out[16, 39] = {out[16, 39].item():.6g}" in verdict.message
    out[3, 8::8] += torch.tensor([1, 2, 8, 4], dtype=out.dtype)
    verdict = verify(out, **operands)
    assert "5 of 680 elements; worst out[3, 24]" in verdict.message
    assert verdict.where == "rows 3, 16 of 17; columns 8, 16, 24, 32 and 1 more of 40"


@pytest.mark.parametrize("k", [2048, 4096])
def test_a_part_holds_whole_words_and_a_bounded_number_of_elements(k):
    like = torch.zeros(1, dtype=torch.float16)
    problem = Problem(
        x=like.expand(100_000, k),
        qweight=like.int().expand(k // 8, 28672),
        qzeros=like.int().expand(k // 128, 28672 // 8),
        scales=like.expand(k // 128, 28672),
        bits=4,
    )
    rows, columns = parts.ExpectedParts(problem, Numerics(), "cpu")._size()
    assert columns % 8 == 0
    assert 8 * k * (rows + columns) < parts.PART
    assert rows * columns >= 2**14


def sums_in_order(x, weight):
    """x [M, K] times W [K, N], product after product, in float32."""
    total = torch.zeros(len(x), weight.shape[1])
    for k in range(x.shape[1]):
        total = total + x[:, k : k + 1].float() * weight[k].float()
    return total


def weights_of_one(k):
    """W [K, 4] of codes 2, zero-points 1 and scales 1, in 8 bits."""
    return {
        "qweight": torch.full((k // 4, 4), 0x02020202, dtype=torch.int32),
        "qzeros": torch.zeros(1, 1, dtype=torch.int32),
        "scales": torch.ones(1, 4),
    }


def test_sums_whose_errors_all_point_one_way_pass():
    """Each sum rounds up by almost half a step: more than data with random signs could do."""
    k, half = 8192, 2.0**-24
    x = torch.full((1, k), half * 1.001)
    x[0, 0] = 1.0
    one = weights_of_one(k)
    out = sums_in_order(x, torch.ones(k, 4))
    exact = x.double().sum()
    random_bound = 8 * math.sqrt(k + EXTRA_ROUNDINGS) * half * exact
    assert abs(out.double() - exact).max() > random_bound
    numerics = Numerics(folds_zero=False)
    assert verify(out, x=x, bits=8, numerics=numerics, **one).ok
    assert not verify(out * (1 + 4 * k * half), x=x, bits=8, numerics=numerics, **one).ok


@pytest.mark.parametrize("numerics", [Numerics(), Numerics(tf32=True), Numerics(scaled_zero=True)])
def test_bounds_are_those_of_the_worst_case(operands, numerics):
    """n u A + n h, the tensor cores' share, and |x| @ d."""
    problem = Problem(**operands)
    numbers, weight = problem.columns(slice(0, 40), "cpu")
    product = problem.product(problem.x.double(), numbers)
    expected = Expected(product, weight, numerics, 90)
    left, group = product.values.left.abs(), product.values.g_idx
    codes, zeros = numbers["codes"], numbers["zeros"][group]
    around = (codes - 8).abs() + (zeros - 8).abs()
    larger = torch.maximum(codes + zeros, around) * numbers["scales"].abs()[group]
    terms, magnitude = 96 + EXTRA_ROUNDINGS, left @ larger
    wanted = terms * (F32.unit_roundoff * magnitude + F32.smallest / 2)
    raised = [torch.where(part == 0, 0, part.clamp(min=2.0**-14)) for part in (left, larger)]
    wanted = wanted + (96 + 6) * 2.0 ** -TENSOR_CORE_BITS[90] * (raised[0] @ raised[1])
    if numerics.tf32:
        wanted = wanted + 2.0**-10 * magnitude
    if numerics.scaled_zero:
        wanted = wanted + left @ spacing(larger, F16)
    assert torch.allclose(expected.error, wanted, rtol=1e-12, atol=0)


def test_special_values_must_come_out_where_they_belong(operands):
    operands = {**operands, "x": operands["x"].clone(), "scales": operands["scales"].clone()}
    operands["x"][2, 5], operands["x"][4, 7] = torch.nan, torch.inf
    operands["scales"][1, 3] = torch.nan
    out = plain(operands)
    assert verify(out, **operands).ok
    for row, column in ((2, 0), (4, 0), (0, 3)):
        hidden = out.clone()
        hidden[row, column] = 1.0
        assert not verify(hidden, **operands).ok
    spread = out.clone()
    spread[1, 1] = torch.nan
    assert verify(spread, **operands).where == "row 1 of 17; column 1 of 40"


@pytest.mark.parametrize("special", [torch.nan, torch.inf])
def test_a_special_bias_makes_its_column_special(operands, special):
    bias = torch.zeros(40, dtype=torch.float16)
    bias[7] = special
    operands = operands | {"bias": bias}
    out = plain(operands) + bias
    assert verify(out, **operands).ok
    assert verify(torch.nan_to_num(out), **operands).where == "all rows; column 7 of 40"


def test_sums_that_may_leave_the_range_of_float32_may_be_infinite():
    x = torch.tensor([[1e38] * 16 + [-1e38] * 16])
    infinite = torch.full((1, 4), torch.inf)
    assert verify(infinite, x=x, bits=8, **weights_of_one(32)).ok
    assert not verify(infinite, x=x / 1e4, bits=8, **weights_of_one(32)).ok
    assert not verify(torch.full((1, 4), 1e37), x=x, bits=8, **weights_of_one(32)).ok


@pytest.mark.parametrize("line", ["m17-n48-k96-b2-g32-act-v2-bias-randn", "m4-n8-k64-b8-g20-none"])
def test_formats_bits_bias_and_absent_g_idx_are_judged(line):
    operands = given(line)
    backend = load("torch", ".")
    assert verify(called(backend, operands), **operands).ok
    other = {"v1": "v2", "v2": "v1"}[operands["checkpoint_format"]]
    assert not verify(called(backend, operands), **operands | {"checkpoint_format": other}).ok


def test_a_group_size_is_derived_where_rows_divide_evenly():
    operands = given("m3-n16-k96-b4-g32-randn")
    out = plain(operands)
    bare = {name: operands[name] for name in ("x", "qweight", "qzeros", "scales")}
    assert verify(out, **bare).ok
    assert verify(out, **bare, group_size=32).ok
    with pytest.raises(ValueError, match=r"must have 2 rows for 96 rows .* groups of 48, got 3"):
        verify(out, **bare, group_size=48)


def test_operands_of_any_strides_are_judged_and_left_alone():
    operands = given("m6-n16-k96-b4-g32-act-off3-dim3-wstr-sstr-zstr-gstr-randn")
    operands["x"] = operands["x"].transpose(0, 1)
    assert not any(t.is_contiguous() for t in operands.values() if isinstance(t, torch.Tensor))
    before = {n: t.clone() for n, t in operands.items() if isinstance(t, torch.Tensor)}
    out = plain(operands | {"x": operands["x"].reshape(6, 96)}).reshape(3, 2, 16)
    strided = torch.empty(3, 16, 2, dtype=out.dtype).transpose(1, 2).copy_(out)
    assert verify(strided, **operands).ok
    assert all(torch.equal(operands[name], kept) for name, kept in before.items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda out: out.float(), "wanted torch.float16 (17, 40) on cpu, got torch.float32"),
        (lambda out: out[:-1], "got torch.float16 (16, 40)"),
        (lambda out: out.to("meta"), "on meta"),
        (lambda out: out.tolist(), "got list"),
    ],
)
def test_an_output_of_another_type_is_a_verdict(operands, change, words):
    verdict = verify(change(plain(operands)), **operands)
    assert verdict.kind == kinds.WRONG_TYPE
    assert words in verdict.message
    assert not verdict.ok


MISUSE = [
    # operand changed, its new value, what is raised and what it says
    ("x", lambda o: o["x"].double(), TypeError, "x must be torch.float16 or .*float64"),
    ("x", lambda o: o["x"].to("meta"), ValueError, "x must hold numbers"),
    ("x", lambda o: o["x"][:, :-1], ValueError, "x must have a last dimension of 96.*95"),
    ("x", lambda o: o["x"][0, 0], ValueError, "x must have a last dimension"),
    ("x", lambda o: o["x"].tolist(), TypeError, "x must be a tensor, got list"),
    ("x", lambda o: o["x"].to_sparse(), TypeError, "x must be a strided tensor"),
    ("qweight", lambda o: o["qweight"].float(), TypeError, "qweight must be torch.int32, got"),
    ("qweight", lambda o: o["qweight"].flatten(), ValueError, "qweight must have two dimensions"),
    ("qweight", lambda o: o["qweight"][:0], ValueError, "qweight must have rows and columns"),
    ("qweight", lambda o: o["qweight"][:, :-1], ValueError, "multiple of 8 columns, got 39"),
    ("qweight", lambda o: o["qweight"].t(), ValueError, "qweight must have a multiple of 8 col"),
    ("qzeros", lambda o: o["scales"], TypeError, "qzeros must be torch.int32, got torch.float16"),
    ("qzeros", lambda o: o["qzeros"][:-1], ValueError, r"qzeros must have shape \(3, 5\)"),
    ("scales", lambda o: o["qzeros"], TypeError, "scales must be .*got torch.int32"),
    ("scales", lambda o: o["scales"].t(), ValueError, r"scales must have shape \(40, 40\)"),
    ("scales", lambda o: o["scales"][:0], ValueError, "scales must have at least one group"),
    ("scales", lambda o: o["scales"].to("meta"), ValueError, "scales must hold numbers"),
    ("g_idx", lambda o: o["g_idx"].long(), TypeError, "g_idx must be torch.int32, got torch.int64"),
    ("g_idx", lambda o: o["g_idx"] + 1, ValueError, r"g_idx must be in 0..2, got 1..3"),
    ("g_idx", lambda o: o["g_idx"] - 1, ValueError, r"g_idx must be in 0..2, got -1..1"),
    ("g_idx", lambda o: o["g_idx"][1:], ValueError, r"g_idx must have shape \(96,\)"),
    ("bias", lambda o: torch.zeros(40), TypeError, "bias must be torch.float16 as x is"),
    ("bias", lambda o: torch.zeros(39).half(), ValueError, r"bias must have shape \(40,\)"),
    ("bits", lambda o: 9, ValueError, "bits must be one of 1, 2, 3, 4, 5, 6, 7, 8, got 9"),
    ("bits", lambda o: "4", ValueError, "bits must be one of"),
    ("bits", lambda o: 8, ValueError, "qzeros must have shape"),
    ("group_size", lambda o: 0, ValueError, "group_size must be -1, a positive integer or None"),
    ("group_size", lambda o: True, ValueError, "group_size must be"),
    ("checkpoint_format", lambda o: "gptq", ValueError, "must be one of v1, v2, got 'gptq'"),
    ("numerics", lambda o: "x", TypeError, "numerics must be Numerics or None, got str"),
    ("numerics", lambda o: Numerics(accumulator="fp16"), ValueError, "numerics.accumulator takes"),
    ("numerics", lambda o: Numerics(weights=()), ValueError, "numerics.weights takes"),
]


@pytest.mark.parametrize(("name", "change", "error", "words"), MISUSE)
def test_operands_that_are_no_layer_are_refused(operands, name, change, error, words):
    with pytest.raises(error, match=words):
        verify(plain(operands), **operands | {name: change(operands)})


def test_a_group_size_is_asked_for_where_rows_do_not_divide_evenly():
    operands = given("m3-n16-k96-b4-g40-randn")
    bare = {name: operands[name] for name in ("x", "qweight", "qzeros", "scales")}
    assert verify(plain(operands), **bare, group_size=40).ok
    bare = {name: value[:, :] for name, value in bare.items()}
    bare["x"], bare["qweight"] = bare["x"][:, :80], bare["qweight"][:10]
    with pytest.raises(ValueError, match=r"group_size must be given: 80 rows .* into 3 groups"):
        verify(plain(operands), **bare)


def test_an_output_written_over_an_operand_is_refused():
    operands = given("m5-n96-k96-b4-g32-randn")
    with pytest.raises(ValueError, match="out shares memory with x"):
        verify(operands["x"], **operands)
    buffer = torch.zeros(5, 192, dtype=torch.float16)
    operands["x"], out = buffer[:, :96].copy_(operands["x"]), buffer[:, 96:]
    assert verify(out.copy_(plain(operands)), **operands).ok  # a neighbour in one buffer


@pytest.mark.parametrize("line", ["m0-n8-k32-b4-g32", "m1-n8-k8-b4-gall-dim1-randn"])
def test_the_smallest_problems_are_judged(line):
    operands = given(line)
    flat = operands["x"].reshape(-1, operands["x"].shape[-1])
    out = plain(operands | {"x": flat}).reshape(*operands["x"].shape[:-1], 8)
    assert verify(out, **operands).ok
    if out.numel():
        assert not verify(out + 1, **operands).ok


def test_parameters_with_gradients_are_judged(operands):
    out = plain(operands)
    operands |= {name: operands[name].clone().requires_grad_() for name in ("x", "scales")}
    assert verify(out.requires_grad_(), **operands).ok


@pytest.fixture
def an_engine_s_defaults():
    torch.set_default_dtype(torch.bfloat16)
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)


def test_defaults_that_an_engine_has_set_do_not_matter(an_engine_s_defaults):
    with torch.device("cpu"):
        operands = given(LINE)
        out = plain(operands)
    assert verify(out, **operands).ok
    assert verify(out + 1, **operands).message.startswith("680 of 680 elements")


@pytest.mark.gpu
def test_tensors_on_a_gpu_are_judged_there():
    operands = {
        name: value.cuda() if isinstance(value, torch.Tensor) else value
        for name, value in given("m33-n264-k512-b4-g128-act-randn").items()
    }
    out = plain(operands)
    assert verify(out, **operands).ok
    out[32, 263] += 1
    assert verify(out, **operands).where == "row 32 only (tail of 33 % 32); column 263 only"
    with pytest.raises(ValueError, match="operands must be on one device, got x on cpu"):
        verify(out, **operands | {"x": operands["x"].cpu()})
    assert verify(out.cpu(), **operands).kind == kinds.WRONG_TYPE
