"""The Case line: printed and parsed without loss, and refused in words that help."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gptq_fuzz.case import axes
from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case, Token

TOKENS = (Token("cfg", (".BM16.BN64.w4", ".BM128.BN32.w8")), Token("thd", ("0", "8", "50")))
SMALLEST = "m1-n4-k4-b8-gall"
FULL = Case(
    m=1, n=8, k=32, bits=4, group_size=5, g_idx="gap", zeros="zmax", checkpoint_format="v2",
    dtype="bf16", scales_dtype="sf32", layout="pad3", rank=1, strided=("gstr", "wstr"), start=8,
    bias=True, backward=True, fill="nonfinite", bad="gidx", seed=7, extra=(("thd", "8"),),
)  # fmt: skip
FULL_LINE = (
    "m1-n8-k32-b4-g5-gap-zmax-v2-bf16-sf32-pad3-dim1-wstr-gstr-at8-bias-bwd-nonfinite-badgidx"
    "-s7-thd8"
)


@st.composite
def any_cases(draw):
    """Cases with any legal value on each axis, whatever a kernel promises."""
    bits = draw(st.sampled_from(axes.BITS))
    word = axes.codes_in_words(bits)
    rank = draw(st.sampled_from(axes.RANKS))
    layout = draw(st.sampled_from(Limits().layouts_of(rank)))
    amount = str(draw(st.integers(1, 10**6))) if layout in axes.COUNTED else ""
    fills = axes.FILLS_OF.get(layout, axes.FILLS)
    extra = [(token.name, draw(st.sampled_from((None, *token.values)))) for token in TOKENS]
    return Case(
        m=1 if rank == 1 else draw(st.integers(0, 10**6)),
        n=word * draw(st.integers(1, 10**6)),
        k=word * draw(st.integers(1, 10**6)),
        bits=bits,
        group_size=draw(st.just(axes.WHOLE_GROUP) | st.integers(1, 10**6)),
        g_idx=draw(st.sampled_from(axes.G_IDX_KINDS)),
        zeros=draw(st.sampled_from(axes.ZERO_KINDS)),
        checkpoint_format=draw(st.sampled_from(axes.FORMATS)),
        dtype=draw(st.sampled_from(axes.DTYPES)),
        scales_dtype=draw(st.sampled_from(axes.SCALES_DTYPES)),
        layout=layout + amount,
        rank=rank,
        strided=tuple(draw(st.lists(st.sampled_from(axes.STRIDED)))),
        start=draw(st.sampled_from(axes.STARTS)),
        bias=draw(st.booleans()),
        backward=draw(st.booleans()),
        fill=draw(st.sampled_from(fills)),
        bad=draw(st.sampled_from(("", *axes.BAD))),
        seed=draw(st.integers(0, 2**64)),
        extra=tuple((name, value) for name, value in extra if value is not None),
    )


@example(FULL)
@given(any_cases())
def test_a_case_is_rebuilt_from_its_line(case):
    assert Case.parse(str(case), TOKENS) == case


@example(FULL)
@given(any_cases())
def test_a_line_holds_nothing_that_a_shell_or_pytest_reads(case):
    assert re.fullmatch(r"[A-Za-z0-9._-]+", str(case))


def test_every_axis_has_its_place_in_the_line():
    assert str(FULL) == FULL_LINE


def test_defaults_are_left_out():
    assert str(Case(m=1, n=4, k=4, bits=8)) == SMALLEST


@pytest.mark.parametrize("token", ["seq", "zall", "v1", "f16", "sf16", "dim2", "exact", "s0"])
def test_a_default_may_be_said(token):
    assert Case.parse(f"{SMALLEST}-{token}") == Case.parse(SMALLEST)


def test_the_order_of_strided_operands_does_not_matter():
    left, right = (
        Case(m=1, n=4, k=4, bits=8, strided=s) for s in (("gstr", "wstr"), ("wstr", "gstr"))
    )
    assert left == right
    assert hash(left) == hash(right)


def test_space_around_a_line_is_dropped():
    assert str(Case.parse(f"  {SMALLEST}\n")) == SMALLEST


REFUSED = [
    # line, and what the message must name: the token, and what would be right
    ("m1-n4-k4-b8-gall-frobnicate", ["'frobnicate'", "unknown"]),
    ("m1-n4-k4-b9-gall", ["'b9'", "b8|b4|b2|b3|b6|b5|b7|b1"]),
    ("m-n4-k4-b8-gall", ["'m'", "m<number>"]),
    ("m01-n4-k4-b8-gall", ["'m01'", "m<number>"]),
    ("m1-n4-k4-b8-g0", ["'g0'", "gall"]),
    ("m1-n4-k4-b8-gall-pad0", ["'pad0'", "pad[1-9]"]),
    ("m4-n4-k4-b8-gall-cut1", ["cut1", "rank 3 or 4"]),
    ("m1-n4-k4-b8-gall-at3", ["'at3'", "at4|at8|at16|at2|atw2"]),
    ("m1-n4-k4-b8-gall-dim5", ["'dim5'", "dim2|dim1|dim3|dim4"]),
    ("m1-n4-k4-b8-gall-badluck", ["'badluck'", "badgidx"]),
    ("m1-n4-k4-b8-gall-randn-randn", ["'randn'", "repeated"]),
    ("m1-n4-k4-b8-gall-act-rev", ["'rev'", "repeated"]),
    ("m1-m2-n4-k4-b8-gall", ["'m2'", "repeated"]),
    ("m1-n4-k4-b8-gall-wstr-wstr", ["'wstr'", "repeated"]),
    ("m1-n4-k4-b8-gall-thd0-thd8", ["'thd8'", "repeated"]),
    ("m1\u0661-n4-k4-b8-gall", ["unknown", "m<number>"]),  # a digit, but not an ASCII one
    ("m1-n4-k4-b8-gall-randn-act", ["'act'", "out of order", "the order is m, n, k"]),
    ("m1-n4-k4-b8", ["lacks group_size", "for example"]),
    ("m1-k4-gall", ["lacks n, bits"]),
    ("m1-n5-k4-b8-gall", ["n must be a positive multiple of 4", "not 5"]),
    ("m1-n4-k24-b2-gall", ["n must be a positive multiple of 16", "not 4"]),
    ("m1-n16-k24-b2-gall", ["k must be a positive multiple of 16", "not 24"]),
    ("m1-n4-k0-b8-gall", ["k must be a positive multiple of 4", "not 0"]),
    ("m2-n4-k4-b8-gall-dim1", ["dim1 holds one row", "not 2"]),
    ("m1-n4-k4-b8-gall-thd9", ["'thd9'", "thd takes one of 0, 8, 50"]),
    ("m1-n4-k4-b8-gall-cfg.BM7", ["'cfg.BM7'", "cfg takes one of .BM16.BN64.w4"]),
    ("m1-n4-k4-b8-gall--act", ["''", "for example"]),
    ("", ["''", "for example"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_a_wrong_token_is_named_with_what_would_be_right(text, words):
    with pytest.raises(ValueError, match="case") as caught:
        Case.parse(text, TOKENS)
    message = str(caught.value)
    assert not [word for word in words if word not in message], message


def test_a_token_of_another_kernel_is_unknown():
    with pytest.raises(ValueError, match="'thd8'"):
        Case.parse(f"{SMALLEST}-thd8")


@pytest.mark.parametrize(
    "change",
    [
        *({"m": -1}, {"seed": -1}, {"bits": 9}, {"group_size": 0}, {"group_size": 10**20}),
        {"layout": "pad" + "9" * 20},
    ],
)
def test_values_that_no_line_can_say_are_refused(change):
    with pytest.raises(ValueError, match=r"must|holds"):
        Case.parse(SMALLEST).replace(**change)
