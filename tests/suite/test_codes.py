"""Codes that a kernel packs itself: words in any order, and what such a kernel is handed."""

import re
from pathlib import Path

import pytest
import torch

from gptq_fuzz import repack
from gptq_fuzz.case.backend import Backend, Limits
from gptq_fuzz.problem.codes import AWQ, as_packed
from gptq_fuzz.problem.rounding import FORMATS, round_to
from reference.packing import pack_zeros, unpack_rows
from tests.suite.helpers import examination, problem

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_awq_words_are_those_made_by_hand():
    codes = torch.arange(8, dtype=torch.uint8)[None]
    assert repack(codes, 4, dim=1, order=AWQ).tolist() == [[0x75316420]]


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("dim", [0, 1])
def test_without_an_order_words_are_those_of_a_checkpoint(bits, dim):
    codes = torch.randint(2**bits, (64, 32), generator=torch.Generator().manual_seed(bits))
    words = repack(codes.to(torch.uint8), bits, dim)
    if dim == 0:
        assert torch.equal(unpack_rows(words, bits), codes)
    else:
        assert torch.equal(words, pack_zeros(codes, bits, "v2"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((4, 2), "dim must be 0 or 1, got 2"),
        ((4, 0, (0, 1)), r"order must hold 0\.\.7 once each for 4 bits"),
        ((3, 0, tuple(range(32))), "order must hold"),
        ((2, 0, tuple(range(16))), "codes must fill whole words of 16, got 8"),
        ((2, 0), "16 rows for whole words of 2 bits, got 8"),
        ((1, 1), r"codes must be in 0\.\.1"),
    ],
)
def test_what_cannot_be_packed_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        repack(torch.full((8, 32), 3), *arguments)


def of_codes(change=lambda zeros: zeros):
    """A kernel that multiplies with the codes that it gets."""

    def matmul(*, x, codes, zeros, scales, g_idx, bias, bits, group_size):
        assert (codes.dtype, zeros.dtype) == (torch.uint8, torch.int32)
        group = g_idx.long()
        weight = (codes.double() - change(zeros)[group]) * scales.double()[group]
        return (x.double() @ weight).to(x.dtype)

    limits = Limits(bits=(8, 5), formats=("v1", "v2"), bad=(), refuses_outside=False)
    return as_packed(Backend("codes", limits, operands="codes", matmul=matmul))


@pytest.mark.parametrize("line", ["m3-n8-k24-b8-g8-act", "m2-n32-k64-b5-g20-v2-randn"])
def test_a_kernel_of_codes_is_judged_as_others_are(line):
    assert examination(of_codes(), line).verdict().ok
    assert examination(of_codes(lambda zeros: zeros + 1), line).verdict().kind == "WRONG"


def test_operands_are_packed_or_codes():
    with pytest.raises(ValueError, match='operands are "packed" or "codes", not \'words\''):
        Backend("mine", operands="words", matmul=print)


def test_the_example_of_the_docs_is_right():
    text = (DOCS / "backend.md").read_text("utf-8")
    names: dict = {}
    exec(re.search(r"```python\n# awq.py.*?\n(.*?)```", text, re.DOTALL)[1], names)
    backend = as_packed(names["mine"])
    assert examination(backend, "m3-n16-k32-b4-g8-lanes").verdict().ok


@pytest.mark.parametrize("scales", ["sf16", "sbf16", "sf32"])
def test_zero_points_with_fractions_are_numbers_of_the_scales_dtype(scales):
    case, values = problem(f"m1-n32-k64-b8-g8-zflt-{scales}")
    points, fmt = values.zero_points, FORMATS[scales[1:]]
    assert torch.equal(round_to(points, fmt), points)
    assert (points.frac() != 0).float().mean() > 0.2
    assert (points >= 0).all()
    assert (points < case.maxq + 1.5).all()


def test_packed_operands_hold_no_fractions():
    backend = Backend("mine", Limits(zeros=("zflt",)), matmul=print)
    with pytest.raises(ValueError, match='zflt are for operands="codes"'):
        as_packed(backend)
