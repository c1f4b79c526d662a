"""Operands lie where the tokens say, and no write around or into them goes unnoticed."""

import pytest
import torch

from gptq_fuzz.case.axes import STARTS
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.environment import UNTIMED
from gptq_fuzz.museum.catalogue import faulty
from gptq_fuzz.problem.layouts import leading_shape
from gptq_fuzz.problem.operands import SMALL, Operands, judged_on
from gptq_fuzz.worker.loader import load
from tests.suite.helpers import examination

ALIGNMENT = 256  # bytes, at least what torch gives
PLAIN = "m4-n8-k16-b8-g8-bias"
STRIDED = "m4-n8-k16-b8-g8-wstr-sstr-zstr-gstr"
NAMES = ("left", "qweight", "qzeros", "scales", "g_idx")
LAYOUTS = ("", "-pad3", "-xt", "-xtp3", "-off5", "-bcast", "-step3", "-dim3", "-kcast")
LAYOUTS += ("-leap3", "-leap2", "-scalar", "-xts3")
LAYOUTS += ("-lap3", "-lap5-dim3", "-lap20")
LAYOUTS += ("-cut3-dim3", "-alt-dim4", "-swap-dim3", "-off5-at8", "-swap-dim4-at4")


def operands(case_line):
    return Operands(Case.parse(case_line), "cpu")


def extent(view):
    """(first, last) element of a tensor within its storage."""
    sizes = zip(view.shape, view.stride(), strict=True)
    length = sum((size - 1) * stride for size, stride in sizes)
    return view.storage_offset(), view.storage_offset() + length


def write(view, place):
    """One element of the storage behind a tensor becomes another value than it was."""
    cell = view.as_strided((1,), (1,), place)
    cell.fill_(3 if cell.item() == 5 else 5)


def damage_by(case_line, name, end, step=0):
    """What is found of a write so far from the first (0) or last (1) element of an operand."""
    written = operands(case_line)
    view = written.guarded[name].view
    write(view, extent(view)[end] + step)
    return written.damage()


@pytest.mark.parametrize("case_line", [PLAIN, STRIDED])
@pytest.mark.parametrize("name", NAMES)
def test_a_write_into_an_operand_or_beside_it_is_found(case_line, name):
    for end, step in ((0, -1), (1, 1)):
        assert damage_by(case_line, name, end, step) == ("OUT_OF_BOUNDS", name)
        assert damage_by(case_line, name, end) == ("INPUT_CHANGED", name)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_write_into_x_or_beside_it_is_found_in_every_layout(layout):
    case_line = f"m4-n8-k16-b8-g8{layout}"
    for end, step in ((0, -1), (1, 1), (0, -500), (1, 500)):
        assert damage_by(case_line, "left", end, step) == ("OUT_OF_BOUNDS", "left")
    assert damage_by(case_line, "left", 1) == ("INPUT_CHANGED", "left")


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_write_into_the_gap_of_a_strided_operand_is_out_of_bounds(name):
    assert damage_by(STRIDED, name, 0, 1) == ("OUT_OF_BOUNDS", name)


@pytest.mark.parametrize("gap", range(3))
def test_a_write_into_the_padding_of_x_is_out_of_bounds(gap):
    assert damage_by("m4-n8-k16-b8-g8-pad3", "left", 0, 16 + gap) == ("OUT_OF_BOUNDS", "left")


def test_what_nobody_wrote_to_is_whole():
    assert operands(PLAIN).damage() is None
    assert operands(STRIDED).damage() is None


def test_writes_into_an_output_are_inside_and_beside_it_are_not():
    output = operands(PLAIN).output()
    output.view.zero_()
    assert output.is_inside()
    for place in (extent(output.view)[0] - 1, extent(output.view)[1] + 1):
        output = operands(PLAIN).output()
        write(output.view, place)
        assert not output.is_inside()


def test_an_output_begins_as_nan_within_its_zones():
    output = operands("m3-n8-k16-b8-g8-dim3").output()
    assert output.view.shape == (1, 3, 8)
    assert torch.isnan(output.view).all()


@pytest.mark.parametrize("name", [*NAMES, "bias"])
def test_a_contiguous_operand_keeps_the_alignment_that_torch_gives(name):
    view = operands("m3-n12-k36-b8-g8-bias").guarded[name].view
    assert view.is_contiguous()
    assert view.storage_offset() * view.element_size() % ALIGNMENT == 0


PLACES = [
    # tokens, shape, strides and the odd part of the offset of x with K = 16
    ("m4", (4, 16), (16, 1), 0),
    ("m4-pad3", (4, 16), (19, 1), 0),
    ("m4-xt", (4, 16), (1, 4), 0),
    ("m4-xtp3", (4, 16), (1, 7), 0),
    ("m4-xts3", (4, 16), (2, 11), 0),
    ("m4-off5", (4, 16), (16, 1), 5),
    ("m4-bcast", (4, 16), (0, 1), 0),
    ("m1-dim1", (16,), (1,), 0),
    ("m4-dim3", (2, 2, 16), (32, 16, 1), 0),
    ("m3-dim3", (1, 3, 16), (48, 16, 1), 0),
    ("m6-dim4", (2, 1, 3, 16), (48, 48, 16, 1), 0),
    ("m4-pad1-dim3", (2, 2, 16), (34, 17, 1), 0),
    ("m4-bcast-dim3", (2, 2, 16), (0, 0, 1), 0),
    ("m4-kcast", (4, 16), (16, 0), 0),
    ("m1-kcast-dim1", (16,), (0,), 0),
    ("m4-kcast-dim3", (2, 2, 16), (32, 16, 0), 0),
    ("m4-scalar", (4, 16), (0, 0), 0),
    ("m4-scalar-dim3", (2, 2, 16), (0, 0, 0), 0),
    ("m4-step3", (4, 16), (35, 2), 0),
    ("m4-leap3", (4, 16), (51, 3), 0),
    ("m4-leap2", (4, 16), (82, 5), 0),
    ("m4-lap3", (4, 16), (3, 1), 0),
    ("m6-lap5-dim3", (2, 3, 16), (15, 5, 1), 0),
    ("m6-cut3-dim3", (2, 3, 16), (96, 16, 1), 48),
    ("m6-cut1-dim4", (2, 1, 3, 16), (64, 64, 16, 1), 16),
    ("m6-alt-dim3", (2, 3, 16), (96, 16, 1), 0),
    ("m5-alt-dim3", (1, 5, 16), (160, 16, 1), 0),
    ("m6-swap-dim3", (2, 3, 16), (16, 32, 1), 0),
    ("m6-swap-dim4", (2, 1, 3, 16), (16, 16, 32, 1), 0),
    ("m4-at8", (4, 16), (16, 1), 4),
    ("m4-off5-at4", (4, 16), (16, 1), 7),
    ("m0-cut3-dim3", (1, 0, 16), (48, 16, 1), 48),
    ("m0", (0, 16), (16, 1), 0),
    ("m0-dim4", (1, 1, 0, 16), (16, 16, 16, 1), 0),
]


@pytest.mark.parametrize(("tokens", "shape", "strides", "odd"), PLACES)
def test_x_lies_where_its_tokens_say(tokens, shape, strides, odd):
    rows, _, rest = tokens.partition("-")
    view = operands("-".join(filter(None, [f"{rows}-n8-k16-b8-g8", rest]))).left
    assert (view.shape, view.stride()) == (shape, strides)
    assert view.storage_offset() % (ALIGNMENT // view.element_size()) == odd


@pytest.mark.parametrize("layout", LAYOUTS)
def test_x_holds_the_same_values_in_every_layout(layout):
    placed = operands(f"m4-n8-k16-b8-g8{layout}")
    assert torch.equal(placed.left.reshape(4, 16).double(), placed.values.left)
    rows = operands("m4-n8-k16-b8-g8").values.left
    if "lapt" in layout:
        apart = min(placed.case.layout_amount, 4)
        rows = torch.cat([rows[:, 0], *rows[-apart:, 1:].T]).unfold(0, 4, apart).T
    elif "lap" in layout:
        apart = placed.case.layout_amount
        rows = torch.cat([rows[0], *rows[1:, -min(apart, 16) :]]).unfold(0, 16, min(apart, 16))
    one = {"-bcast": rows[:1], "-kcast": rows[:, :1], "-scalar": rows[:1, :1]}.get(layout, rows)
    assert torch.equal(placed.values.left, one.expand(4, 16))


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_strided_operand_has_no_stride_of_one_and_the_same_values(name):
    strided, plain = (operands(case_line).guarded[name].view for case_line in (STRIDED, PLAIN))
    assert 1 not in strided.stride()
    assert torch.equal(strided, plain)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("strided", ["", "-wstr-sstr-zstr-gstr"])
def test_every_operand_begins_so_many_bytes_off_an_aligned_address(start, strided):
    at = f"-at{start}" if start else ""
    placed = operands(f"m3-n12-k36-b8-g8{strided}{at}-bias")
    plain = operands("m3-n12-k36-b8-g8-bias")
    for name, guarded in placed.guarded.items():
        item = guarded.view.element_size()
        begins = guarded.view.storage_offset() * item
        due = placed.case.bytes_off(name)
        assert begins % ALIGNMENT == due // item * item % ALIGNMENT  # 2 is less than a word
        assert torch.equal(guarded.view, plain.guarded[name].view)


SEEN = {  # axis or layout -> the case, and those tokens of it that show the fault
    "step": ("m3-n8-k16-b4-g8{}", {"-step2", "-leap3", "-leap2", "-scalar", "-xts3"}),
    "xts": ("m3-n8-k16-b4-g8{}", {"-xts3"}),
    "leap": ("m3-n8-k16-b4-g8{}", {"-leap3", "-leap2", "-xts3"}),
    "scalar": ("m3-n8-k16-b4-g8{}", {"-scalar"}),
    "lap": ("m4-n8-k16-b4-g8{}", {"-lap3"}),
    "lapt": ("m4-n8-k16-b4-g8{}", {"-lapt3"}),
    "cut": ("m4-n8-k16-b4-g8{}-dim3", {"-cut3", "-alt"}),
    "swap": ("m4-n8-k16-b4-g8{}-dim3", {"-swap"}),
    "expand": ("m4-n8-k16-b4-g8{}-dim3", {"-expand"}),
    "scut": ("m4-n8-k16-b4-g8{}", {"-scut"}),
    "sxt": ("m4-n16-k16-b4-g8{}", {"-sxt"}),
    "start": ("m4-n8-k16-b4-g8{}", {"-at4", "-at8"}),
}
EVERY = ("", "-pad3", "-xt", "-off3", "-bcast", "-step2", "-leap3", "-leap2", "-scalar")
EVERY += ("-xts3", "-lap3", "-lapt3", "-at4", "-at8", "-at16")
OF_SCALES_ALONE = ("scut", "sxt")
EVERY_BATCH = ("-cut3", "-alt", "-swap", "-expand")
OF_SCALES = ("-sstr", "-scut", "-sxt")


@pytest.mark.parametrize("only", SEEN)
def test_a_layout_sees_what_no_other_sees(only):
    (exhibit,) = (exhibit for exhibit in faulty() if exhibit.only == only)
    form, seen = SEEN[only]
    more = EVERY_BATCH if "dim3" in form else OF_SCALES if only in OF_SCALES_ALONE else ()
    for tokens in (*EVERY, *more):
        line = form.format("" if "at" in tokens else tokens)
        line += tokens if "at" in tokens else ""
        verdict = examination(load(exhibit.spec, "."), line).verdict()
        assert verdict.ok == (tokens not in seen), line


@pytest.mark.parametrize("token", ["wstr", "sstr", "zstr", "gstr"])
def test_a_token_strides_its_own_operand_alone(token):
    placed = operands(f"m4-n8-k16-b8-g8-{token}")
    strided = [name for name in NAMES if not placed.guarded[name].view.is_contiguous()]
    assert strided == [{"w": "qweight", "s": "scales", "z": "qzeros", "g": "g_idx"}[token[0]]]


@pytest.mark.parametrize(
    ("tokens", "strides"),  # of [rows, columns]
    [
        ("wcut-scut-zcut", lambda rows, columns: (3 * columns, 1)),
        ("wstr-sstr-zstr-wcut-scut-zcut", lambda rows, columns: (3 * (2 * columns + 2), 2)),
        ("wxt-sxt-zxt", lambda rows, columns: (1, rows)),
        (
            "wstr-sstr-zstr-wcut-scut-zcut-wxt-sxt-zxt",
            lambda rows, columns: (2, 3 * (2 * rows + 2)),
        ),
    ],
    ids=["cut", "cut-strided", "transposed", "transposed-strided"],
)
def test_an_operand_is_cut_out_of_a_wider_one_or_transposed(tokens, strides):
    plain, placed = operands(PLAIN), operands(f"m4-n8-k16-b8-g8-{tokens}")
    for name in ("qweight", "scales", "qzeros"):
        view, same = placed.guarded[name].view, plain.guarded[name].view
        assert view.stride() == strides(*view.shape)
        assert torch.equal(view, same)
    assert placed.guarded["g_idx"].view.is_contiguous()


def test_batches_that_are_one_in_memory_have_the_rows_of_the_first():
    x = operands("m6-n8-k16-b8-g8-expand-dim3").left
    assert (tuple(x.shape), x.stride()) == ((2, 3, 16), (0, 16, 1))
    assert len(x[0].unique(dim=0)) == 3


@pytest.mark.parametrize(("m", "rank"), [(m, rank) for m in (0, 1, 2, 5, 6) for rank in (2, 3, 4)])
def test_the_leading_dimensions_hold_all_rows(m, rank):
    shape = leading_shape(m, rank)
    assert len(shape) == rank - 1
    assert torch.Size(shape).numel() == m


def test_absent_operands_are_none():
    weights = operands("m1-n4-k4-b8-gall-none").weights()
    assert weights["g_idx"] is None
    assert weights["bias"] is None


def test_without_zones_the_buffer_ends_with_the_operand():
    """A sanitizer sees a read past the end only where the allocation ends."""
    case = Case.parse("m4-n8-k16-b8-g8")
    for buffer in Operands(case, "cpu", zones=False).guarded.values():
        assert buffer.storage.numel() == buffer.view.numel() * buffer.view.element_size()


def test_the_reference_reads_what_no_kernel_can_change():
    placed = operands(PLAIN)
    before = {name: placed.originals()[name].clone() for name in NAMES[1:]}
    for name in NAMES[1:]:
        placed.weights()[name].zero_()
    assert all(torch.equal(placed.originals()[name], before[name]) for name in NAMES[1:])
    assert placed.damage() == ("INPUT_CHANGED", "qweight")


@pytest.mark.parametrize(("n", "place"), [(SMALL // 4, "cuda:0"), (SMALL // 16, "cpu")])
def test_small_cases_are_judged_on_the_host(n, place):
    assert judged_on(Case.parse(f"m1-n{n}-k4-b8-gall"), "cuda:0") == place


def test_under_a_sanitizer_the_host_judges_all_cases(monkeypatch):
    monkeypatch.setenv(UNTIMED, "1")
    assert judged_on(Case.parse(f"m1-n{SMALL}-k4-b8-gall"), "cuda:0") == "cpu"
