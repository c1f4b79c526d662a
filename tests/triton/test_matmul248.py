"""matmul248 and its transpose against the float64 reference."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.quant_linear import matmul_248_kernel
from tests.triton.products import (
    both_products,
    far_apart,
    of_both_dtypes,
    problem,
    rounded_once,
    run,
)


def assert_exact(operands, **options):
    out = run(operands, **options)
    torch.testing.assert_close(out, rounded_once(operands), rtol=0, atol=0, equal_nan=True)
    assert operands.damage() is None


LINES = [
    "m1-n16-k16-b2-gall",  # one word of columns, one block of everything
    "m1-n8-k8-b4-g4",  # L-44, B-11: K under the smallest block
    "m3-n4-k4-b8-g1",  # B-07, a group for each row
    "m17-n40-k96-b4-g32-act",  # L-01, L-04, MK-02: tails of M, N and K
    "m65-n24-k200-b4-g64-act",  # GI-12: the last group is partial
    "m5-n136-k72-b8-g16-rev",  # GI-07: groups smaller than a block
    "m2-n48-k80-b2-g7-skew",  # L-53, B-07: groups of unequal and odd sizes
    "m4-n16-k64-b4-g16-gap",  # groups without rows
    "m4-n16-k64-b4-g16-one",  # GI-02, L-69: all zeros is taken literally
    "m4-n16-k96-b4-g64-none",  # B-05: no g_idx
    "m4-n16-k64-b4-g1024",  # GI-13: more rows in a group than there are
    "m3-n32-k64-b8-g32-z0",  # PK-06, L-13: zero-points that wrap
    "m3-n32-k64-b2-g32-zmax",
    "m33-n32-k96-b4-g32-pad8",  # L-02, LY-01, MK-01
    "m7-n32-k96-b4-g32-xt",  # L-02: columns of x far apart
    "m7-n32-k96-b4-g32-bcast",
    "m7-n32-k96-b4-g32-off3",  # PF-04, B-16: not aligned
    "m3-n32-k96-b4-g32-act-wstr",  # L-03, LY-02: strides of every other operand
    "m3-n32-k96-b4-g32-act-sstr",
    "m3-n32-k96-b4-g32-act-zstr",
    "m3-n32-k96-b4-g32-act-gstr",
    "m1-n16-k64-b4-g16-dim1",  # LY-03
    "m6-n16-k64-b4-g16-dim3",
    "m6-n16-k64-b4-g16-pad4-dim4",
    "m2-n16-k64-b4-g16-sf32",  # DT-03, L-27
    "m2-n16-k64-b4-g16-sbf16",
    "m2-n16-k2048-b8-g128-act",  # AC-04: a long sum
    "m130-n16-k32-b4-g32",  # PK-17: many rows
    "m2-n16-k64-b4-g16-sparse",
]


@pytest.mark.bug("L-08 DT-01 DT-02")
@of_both_dtypes
@both_products
@pytest.mark.parametrize("line", LINES)
def test_the_result_is_the_exact_product_rounded_once(product, line, dtype, device):
    assert_exact(problem(line, device, product, dtype=dtype))


shapes = st.tuples(st.integers(1, 40), st.integers(1, 12), st.integers(1, 24))


@both_products
@settings(max_examples=15)
@given(
    shape=shapes, bits=st.sampled_from((4, 8, 2)), group=st.integers(1, 70), seed=st.integers(0, 9)
)
def test_any_shape_and_group_size_is_right(product, device, shape, bits, group, seed):
    m, words_n, words_k = shape
    n, k = 32 // bits * words_n, 32 // bits * words_k
    assert_exact(problem(f"m{m}-n{n}-k{k}-b{bits}-g{group}-act-s{seed}", device, product))


@pytest.mark.bug("MK-01 MK-03 MK-05 LY-01")
@both_products
def test_the_output_is_written_where_asked_and_nowhere_else(product, device):
    """Red zones, NaN beforehand, rows further apart than N."""
    operands = problem("m17-n40-k96-b4-g32-act", device, product)
    guarded = operands.output()
    result = run(operands, out=guarded.view)
    assert result is guarded.view
    torch.testing.assert_close(result, rounded_once(operands), rtol=0, atol=0)
    wide = torch.full((17, 3 * result.shape[1]), 7.0, dtype=result.dtype, device=device)
    run(operands, out=wide[:, 1::3])
    torch.testing.assert_close(wide[:, 1::3], result, rtol=0, atol=0)
    assert (wide[:, 0::3] == 7).all()
    assert (wide[:, 2::3] == 7).all()


@pytest.mark.bug("L-10 LY-04 L-31")
@both_products
@pytest.mark.parametrize("leading", [(0,), (2, 0, 3)])
def test_no_rows_give_no_rows(product, leading, device):
    """And nothing is launched that could fail later."""
    operands = problem("m1-n16-k64-b4-g16", device, product)
    operands.guarded["left"].view = operands.left.new_empty(*leading, operands.left.shape[-1])
    assert run(operands, config=None).shape[:-1] == leading
    assert (torch.ones(1, device=device) + 1).item() == 2


@pytest.mark.bug("B-28 L-01")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_stays_in_its_row_and_column(value, device):
    """K = 72 leaves masked rows in every block."""
    operands = problem("m5-n24-k72-b4-g16", device)
    clean = run(operands)
    operands.left[3, 70] = value
    operands.weights()["scales"][4, 17] = value
    out = run(operands)
    hit = torch.zeros_like(out, dtype=torch.bool)
    hit[3], hit[:, 17] = True, True
    assert torch.equal(out[~hit], clean[~hit])
    assert not out[:, 17].isfinite().any()


@pytest.mark.bug("L-06 OV-01")
def test_offsets_past_two_billion_elements_are_right(device):
    """Three rows of x, 2**30 elements apart."""
    operands = problem("m3-n16-k16-b4-gall", device)
    plain = run(operands)
    operands.guarded["left"].view = far_apart(operands.left, 2**30, device)
    assert torch.equal(run(operands), plain)


@pytest.mark.bug("L-30 B-08 B-26 AT-10")
@pytest.mark.parametrize("lines", [("m1-n16-k16-b4-g16", "m16-n16-k16-b4-g16"),
                                   ("m3-n16-k96-b4-g32", "m3-n16-k128-b4-g32"),
                                   ("m3-n16-k64-b2-g32", "m3-n16-k64-b8-g32")])  # fmt: skip
def test_the_order_of_shapes_does_not_matter(lines, device):
    """From an empty cache, both ways round."""
    for order in (lines, lines[::-1]):
        matmul_248_kernel.clear()
        for line in order:
            assert_exact(problem(line, device), config=None)
