"""All ways through the extension agree; sizes beyond 16 and 32 bits; accuracy as promised."""

import itertools

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import reference.matmul
from gptq_fuzz.adapters import exllama as exllama_backend
from gptq_fuzz.adapters.exllama import EXLLAMA, ORDERS
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.only import narrowed
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.search.strategies import cases
from kernels import exllama
from tests.layers.small import exllama_linear, expected, inputs

pytestmark = pytest.mark.usefixtures("fresh")
QUIET = settings(deadline=None, suppress_health_check=list(HealthCheck))
REALS = cases(narrowed(EXLLAMA.limits, "randn"))


def multiply(case, device, **tokens):
    operands = Operands(case.replace(extra=tuple(tokens.items())), device)
    return EXLLAMA.call(operands.case, operands.left, operands.weights())


@pytest.mark.bug("B-18 AC-03 L-63")
@QUIET
@given(case=REALS, thd=st.sampled_from("01"))
def test_remap_and_dequantisation_do_not_change_a_bit(device, case, thd):
    """The weights are the same, and so is the order of every sum."""
    results = [
        multiply(case, device, thd=thd, fused=fused, nohalf2=no_half2)
        for fused, no_half2 in itertools.product("01", "01")
    ]
    assert all(torch.equal(results[0], other) for other in results[1:])


@pytest.mark.bug("L-47 L-48 AC-01 AC-02 AC-08")
@QUIET
@given(case=REALS)
def test_the_order_of_blocks_and_threads_does_not_change_a_bit(case):
    """On the CPU, where it can be chosen."""
    results = []
    for seed, order in enumerate((*ORDERS, "random")):
        exllama_backend.set_host_order(order, seed)
        operands = Operands(case, "cpu")
        results.append(exllama_backend.matmul(x=operands.left, **operands.weights(), thd="0"))
    assert all(torch.equal(results[0], other) for other in results[1:])


@pytest.mark.bug("B-18 MK-07 L-51")
@pytest.mark.parametrize("rows", [1, 8, 50, 64])
@pytest.mark.parametrize("order", ["seq", "act"])
def test_rows_below_and_above_the_threshold_agree(rows, order, device):
    """The first row that is reconstructed, and those before it."""
    case = Case.parse(f"m{rows}-n40-k96-b4-g32-{order}-s1".replace("-seq", ""))
    operands = Operands(case, device)
    weights, options = operands.weights(), {"fused": "0", "nohalf2": "0"}
    whole, fewer, other = (
        exllama_backend.matmul(x=x, **weights, thd=thd, **options)
        for x, thd in ((operands.left, rows), (operands.left[:-1], rows), (operands.left, "0"))
    )
    assert torch.equal(whole, other)
    assert torch.equal(whole[:-1], fewer)


@pytest.mark.bug("OV-01 OV-03 L-73")
def test_rows_far_apart_are_found(device):
    """The third row begins 2^31 elements after the first."""
    layer, x = exllama_linear(device, bias=None), inputs(device, 3)
    memory = torch.empty(2**31 + x.shape[1], dtype=torch.half, device=device)
    far = memory.as_strided(x.shape, (2**30, 1)).copy_(x)
    assert torch.equal(layer(far), expected(layer, x))


@pytest.mark.bug("OV-02")
def test_buffers_of_more_than_32_bits_are_no_small_ones(device):
    """2^31 elements are not a negative number of them."""
    layer, x = exllama_linear(device, act=True), inputs(device, 9)
    here = layer.qweight.device
    room = torch.empty(2**31, dtype=torch.half, device=here)
    exllama.prepare_buffers(here, room, room[: 2**30])
    exllama.set_tuning_params(0, False, False)
    assert torch.equal(layer(x), expected(layer, x))
    assert exllama.buffers(here)[0] is room


@pytest.mark.bug("OV-03 L-73 MK-13 L-64")
@pytest.mark.gpu
@pytest.mark.slow
def test_a_result_of_more_than_32_bits_is_whole():
    """Rows past 65,535 blocks, elements past 2^31."""
    layer = exllama_linear("cuda", k=16, n=8192, act=True, bias=None)
    x = inputs("cuda", 2**18 + 1, k=16)
    for fused in (False, True):
        exllama.set_tuning_params(0, fused, False)
        out = layer(x)
        for rows in (slice(0, 99), slice(-99, None)):
            assert torch.equal(out[rows], expected(layer, x[rows]))
        assert bool(out.isfinite().all())


@pytest.mark.bug("L-63")
@pytest.mark.gpu
@pytest.mark.parametrize("thd", ["0", "1"])
def test_a_large_layer_is_as_exact_as_float16_allows(thd):
    """The original was off by 4.4e-3 here, in relative Frobenius norm."""
    operands = Operands(Case.parse("m1-n4096-k14336-b4-g128-randn"), "cuda")
    weights = operands.weights()
    out = exllama_backend.matmul(x=operands.left, **weights, thd=thd)
    names = ("qweight", "qzeros", "scales", "g_idx")
    plain = {name: weights[name] for name in names}
    ref = reference.matmul.matmul(operands.left, **plain, bits=4).double()
    assert (out.double() - ref).norm() / ref.norm() <= 3.2e-4
