"""Backends: what a declaration must hold, and that our own keep to what they declare."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.adapters.exllama import EXLLAMA, _host_g_idx
from gptq_fuzz.adapters.triton import TRITON, _config, _name, matmul_248_kernel
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.backend import Backend, Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.oracle.examination import Examination, Request
from gptq_fuzz.problem.operands import Operands
from tests.exllama.parts import build_or_skip

ROOT = Path(__file__).resolve().parents[2]
BY_FUNCTIONS = (
    "m3-n16-k32-b4-g8-act-thd8",
    "m9-n16-k40-b4-g8-xt-bias-thd8-fused1",
    "m2-n8-k64-b4-g32-pad3-bias-nohalf21",
    "m5-n24-k40-b4-g24-none-thd1",
    "m4-n8-k16-b4-gall-none-dim3-thd0",
)


def called(*_):
    raise AssertionError("a declaration calls nothing")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, "wants matmul, or prepare and run; not both"),
        ({"matmul": called, "prepare": called, "run": called}, "wants matmul, or prepare and run"),
        ({"matmul": called, "prepare": called}, "wants prepare and run together"),
        ({"run": called}, "wants prepare and run together"),
    ],
)
def test_a_backend_has_one_way_to_be_called(given, wanted):
    with pytest.raises(TypeError, match=f"Backend 'mine' {wanted}"):
        Backend("mine", Limits(), **given)


def test_a_tile_has_a_side_for_each_of_m_n_and_k():
    assert Limits(tile=(16, 32, 64)).tiles(17, 32, 65) == 4
    with pytest.raises(ValueError, match="shorter"):
        Limits(tile=(16, 32)).tiles(1, 2, 3)


@pytest.mark.parametrize("line", ["m4-n8-k32-b4-g8-none", "m4-n8-k36-b8-g24-none-bias"])
def test_the_control_makes_an_absent_g_idx_of_the_group_size(line):
    assert Examination(TORCH, Case.parse(line), "cpu", Request(())).verdict().kind == kinds.PASS


def test_the_control_sums_in_full_precision_and_leaves_no_trace(monkeypatch):
    names = ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction")
    cuda, seen = torch.backends.cuda.matmul, []
    multiply = torch.matmul
    monkeypatch.setattr(
        torch, "matmul",
        lambda *given: seen.append([getattr(cuda, name) for name in names]) or multiply(*given),
    )  # fmt: skip
    before = [getattr(cuda, name) for name in names]
    assert any(before), "torch's default is to reduce in less"
    verdict = Examination(TORCH, Case.parse("m4-n8-k32-b4-g8"), "cpu", Request(())).verdict()
    assert verdict.kind == kinds.PASS
    assert seen == [[False, False]]
    assert [getattr(cuda, name) for name in names] == before


def test_a_config_by_its_token_is_the_one_that_is_tuned():
    for config in matmul_248_kernel.configs:
        named = _config(_name(config))
        assert named.all_kwargs() == config.all_kwargs()


def test_a_gradient_without_a_config_goes_through_the_layer():
    case = Case.parse("m3-n8-k16-b4-g8-act-bwd")
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    assert Examination(TRITON, case, device, Request(())).verdict().kind == kinds.PASS


@pytest.mark.parametrize("line", BY_FUNCTIONS)
def test_exllama_is_right_by_its_functions(line):
    build_or_skip("cpu")
    case = Case.parse(line, EXLLAMA.limits.tokens)
    verdict = Examination(EXLLAMA, case, "cpu", Request(())).verdict()
    assert verdict.kind == kinds.PASS, verdict.headline()


def test_exllama_is_asked_for_a_result_of_its_own_too():
    build_or_skip("cpu")
    case = Case.parse("m3-n16-k32-b4-g8-act-thd8", EXLLAMA.limits.tokens)
    operands = Operands(case, "cpu")
    given = operands.output()
    made = EXLLAMA.call(case, operands.left, operands.weights())
    EXLLAMA.call(case, operands.left, operands.weights(), given.view)
    assert torch.equal(made, given.view)


@pytest.mark.parametrize(("k", "groups", "size"), [(40_000, 2, 30_000), (64, 3, 24)])
def test_groups_that_are_not_equal_are_spelled_for_exllama(k, groups, size):
    tensors = {"qweight": torch.empty(k // 8, 8), "qzeros": torch.empty(groups, 1)}
    assert _host_g_idx(tensors, size).tolist() == [row // size for row in range(k)]


def test_a_gpu_gives_both_stacks_problems_of_one_size():
    """In a process that takes this machine for one with a GPU."""
    told = "import torch; torch.cuda.is_available = lambda: True; " + "; ".join(
        f"from gptq_fuzz.adapters.{name} import {name.upper()} as {name}"
        for name in ("exllama", "triton")
    )
    told += "; print(exllama.limits.max_tiles, triton.limits.max_tiles)"
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    made = subprocess.run(
        [sys.executable, "-c", told], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    sizes = made.stdout.split()
    assert len(sizes) == 2, made.stderr
    assert sizes[0] == sizes[1]
