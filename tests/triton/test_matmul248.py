"""matmul248 and its transpose against the float64 reference."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reference.matmul
from gptq_fuzz.case.case import Case
from gptq_fuzz.problem.operands import Operands
from kernels.quant_linear import (
    matmul248,
    matmul_248_kernel,
    transpose_matmul248,
    transpose_matmul_248_kernel,
)
from kernels.triton_matmul import BLOCKS

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = {matmul248: reference.matmul.matmul, transpose_matmul248: reference.matmul.gradient}
BOTH = pytest.mark.parametrize("product", REFERENCE, ids=lambda f: f.__name__)
CONFIGS = pytest.mark.parametrize("which", range(len(BLOCKS)))


def problem(product, example, device, **changes):
    """Operands of the case line; x [M, K], or the gradient [M, N] for the transposed product."""
    backward = product is transpose_matmul248
    case = dataclasses.replace(Case.parse(example), backward=backward, **changes)
    return Operands(case, device)


def tuner_of(product):
    return matmul_248_kernel if product is matmul248 else transpose_matmul_248_kernel


def run(product, operands, **options):
    """With the first config: timing all of them for every shape would take minutes on a GPU."""
    case, weights = operands.case, operands.weights()
    if "config" not in options:
        shape = {"M": case.m, "N": case.n, "K": case.k}
        options["config"] = tuner_of(product).prune_configs(shape)[0]
    if weights["g_idx"] is None:
        options["group_size"] = case.group_size
    tensors = {name: weights[name] for name in ("qweight", "scales", "qzeros", "g_idx")}
    return product(operands.left, **tensors, bits=case.bits, maxq=2**case.bits - 1, **options)


def expected(product, operands):
    """The float64 result, rounded once; on exact fills nothing else is ever rounded."""
    weights = operands.weights()
    del weights["bias"]
    ref = REFERENCE[product](operands.left, **weights)
    return ref.to(operands.left.dtype)


def assert_exact(product, operands, **options):
    out = run(product, operands, **options)
    torch.testing.assert_close(out, expected(product, operands), rtol=0, atol=0, equal_nan=True)
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


@BOTH
@pytest.mark.parametrize("example", LINES)
def test_the_result_is_the_exact_product_rounded_once(product, example, device):
    assert_exact(product, problem(product, example, device))


@pytest.mark.bug("L-08 DT-01 DT-02")
@pytest.mark.gpu
@BOTH
@pytest.mark.parametrize("example", LINES)
def test_bfloat16_is_computed_in_bfloat16(product, example, device):
    """On a GPU, since the interpreter gets bfloat16 wrong."""
    assert_exact(product, problem(product, example, device, dtype="bf16"))


shapes = st.tuples(st.integers(1, 40), st.integers(1, 12), st.integers(1, 24))


@BOTH
@settings(max_examples=15)
@given(
    shape=shapes, bits=st.sampled_from((4, 8, 2)), group=st.integers(1, 70), seed=st.integers(0, 9)
)
def test_any_shape_and_group_size_is_right(product, device, shape, bits, group, seed):
    m, words_n, words_k = shape
    n, k = 32 // bits * words_n, 32 // bits * words_k
    example = f"m{m}-n{n}-k{k}-b{bits}-g{group}-act-s{seed}"
    assert_exact(product, problem(product, example, device))


@pytest.mark.bug("L-01 L-30 L-44 GI-07 B-08 B-11 B-12 AT-15")
@BOTH
@CONFIGS
@pytest.mark.parametrize(
    "example", ["m17-n40-k96-b4-g32-act", "m1-n16-k16-b2-gall", "m70-n136-k72-b8-g9"]
)
def test_every_config_is_right_as_it_is_and_pruned(product, which, example, device):
    """Whatever the clock says."""
    operands = problem(product, example, device)
    case = operands.case
    assert_exact(product, operands, config=tuner_of(product).configs[which])
    pruned = tuner_of(product).prune_configs({"M": case.m, "N": case.n, "K": case.k})
    assert_exact(product, operands, config=pruned[which % len(pruned)])


@pytest.mark.bug("MK-01 MK-03 MK-05 LY-01")
@BOTH
def test_the_output_is_written_where_asked_and_nowhere_else(product, device):
    """Red zones, NaN beforehand, rows further apart than N."""
    operands = problem(product, "m17-n40-k96-b4-g32-act", device)
    guarded = operands.output()
    result = run(product, operands, out=guarded.view)
    assert result is guarded.view
    torch.testing.assert_close(result, expected(product, operands), rtol=0, atol=0)
    wide = torch.full((17, 3 * result.shape[1]), 7.0, dtype=result.dtype, device=device)
    run(product, operands, out=wide[:, 1::3])
    torch.testing.assert_close(wide[:, 1::3], result, rtol=0, atol=0)
    assert (wide[:, 0::3] == 7).all()
    assert (wide[:, 2::3] == 7).all()


@pytest.mark.bug("L-10 LY-04 L-31")
@BOTH
@pytest.mark.parametrize("leading", [(0,), (2, 0, 3)])
def test_no_rows_give_no_rows(product, leading, device):
    """And nothing is launched that could fail later."""
    operands = problem(product, "m1-n16-k64-b4-g16", device)
    empty = operands.left.new_empty(*leading, operands.left.shape[-1])
    operands.guarded["left"].view = empty
    assert run(product, operands, config=None).shape[:-1] == leading
    assert (torch.ones(1, device=device) + 1).item() == 2


@pytest.mark.bug("B-28 L-01")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_stays_in_its_row_and_column(value, device):
    """K = 72 leaves masked rows in every block."""
    operands = problem(matmul248, "m5-n24-k72-b4-g16", device)
    clean = run(matmul248, operands)
    operands.left[3, 70] = value
    operands.weights()["scales"][4, 17] = value
    out = run(matmul248, operands)
    hit = torch.zeros_like(out, dtype=torch.bool)
    hit[3], hit[:, 17] = True, True
    assert torch.equal(out[~hit], clean[~hit])
    assert not out[:, 17].isfinite().any()


@pytest.mark.bug("L-06 OV-01")
def test_offsets_past_two_billion_elements_are_right(device):
    """Three rows of x, 2**30 elements apart."""
    operands = problem(matmul248, "m3-n16-k16-b4-gall", device)
    x = torch.empty(2**31 + 16, dtype=torch.float16, device=device).as_strided((3, 16), (2**30, 1))
    x.copy_(operands.left)
    plain = run(matmul248, operands)
    operands.guarded["left"].view = x
    assert torch.equal(run(matmul248, operands), plain)


@pytest.mark.bug("L-30 B-08 B-26 AT-10")
@pytest.mark.parametrize("lines", [("m1-n16-k16-b4-g16", "m16-n16-k16-b4-g16"),
                                   ("m3-n16-k96-b4-g32", "m3-n16-k128-b4-g32"),
                                   ("m3-n16-k64-b2-g32", "m3-n16-k64-b8-g32")])  # fmt: skip
def test_the_order_of_shapes_does_not_matter(lines, device):
    """From an empty cache, both ways round."""
    for order in (lines, lines[::-1]):
        matmul_248_kernel.clear()
        for example in order:
            assert_exact(matmul248, problem(matmul248, example, device), config=None)


GUARDED = """
import torch
from kernels.quant_linear import QuantLinear, matmul248, transpose_matmul248
from tests.end_of_memory import at_the_end_of_memory

layer = QuantLinear.new(4, 24, 72, 40, False)
weights = {name: at_the_end_of_memory(buffer) for name, buffer in layer.named_buffers()}
for product, inner, columns in ((matmul248, 72, 40), (transpose_matmul248, 40, 72)):
    x, out = (at_the_end_of_memory(torch.ones(5, size).half()) for size in (inner, columns))
    product(x, **weights, bits=4, maxq=15, out=out)
"""


@pytest.mark.bug("MK-01 MK-02 MK-04 MK-05 L-01 L-04")
@pytest.mark.skipif(torch.cuda.is_available(), reason="interpreter_only")
def test_nothing_past_the_end_of_any_operand_is_touched():
    """A page without access follows each of them."""
    subprocess.run([sys.executable, "-c", GUARDED], cwd=ROOT, check=True, timeout=120)
