"""Backends: what a declaration must hold, and that our own keep to what they declare."""

import os
import subprocess
import sys

import pytest
import torch

from gptq_fuzz._checkout import ROOT
from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.adapters.exllama import EXLLAMA, _host_g_idx
from gptq_fuzz.adapters.triton import TRITON, _config, _name, matmul_248_kernel
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.backend import Backend, Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.oracle.examination import Examination, Request
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.worker.loader import load
from tests.exllama.parts import build_or_skip
from tests.suite.helpers import examination

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


@pytest.mark.parametrize(
    "given", [{"starts": ("",)}, {"layouts": ("pad8",)}, {"dtypes": ("float16",)}]
)
def test_limits_list_values_that_an_axis_has(given):
    name, (value,) = next(iter(given.items()))
    with pytest.raises(ValueError, match=f"Limits: {name} are of .*, not '{value}'"):
        Limits(**given)


def test_a_tile_has_a_side_for_each_of_m_n_and_k():
    assert Limits(tile=(16, 32, 64)).tiles(17, 32, 65) == 4
    with pytest.raises(ValueError, match="shorter"):
        Limits(tile=(16, 32)).tiles(1, 2, 3)


@pytest.mark.parametrize("line", ["m4-n8-k32-b4-g8-none", "m4-n8-k36-b8-g24-none-bias"])
def test_the_control_derives_an_absent_g_idx_from_the_group_size(line):
    assert examination(TORCH, line).verdict().kind == kinds.PASS


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32"])
@pytest.mark.parametrize("k", [40, 72])  # beyond a tile of 32, and not whole ones
def test_an_infinite_row_of_x_spoils_no_other(k, dtype):
    """As oneDNN's bfloat16 products on CPUs with AMX do to the row before."""
    operands = Operands(Case.parse(f"m33-n8-k{k}-b4-gall-{dtype}"), "cpu")
    x, weights = operands.left.clone(), operands.weights()
    plain = TORCH.matmul(x=x, **weights)
    x[16] = float("inf")
    others = torch.arange(33) != 16
    assert torch.equal(TORCH.matmul(x=x, **weights)[others], plain[others])


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
    assert examination(TORCH, "m4-n8-k32-b4-g8").verdict().kind == kinds.PASS
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
    verdict = examination(EXLLAMA, line).verdict()
    assert verdict.kind == kinds.PASS, verdict.headline()


def test_exllama_is_asked_for_a_result_of_its_own_too():
    build_or_skip("cpu")
    case = Case.parse("m3-n16-k32-b4-g8-act-thd8", EXLLAMA.limits.tokens)
    operands = Operands(case, "cpu")
    given = operands.output()
    own = EXLLAMA.call(case, operands.left, operands.weights())
    EXLLAMA.call(case, operands.left, operands.weights(), given.view)
    assert torch.equal(own, given.view)


@pytest.mark.parametrize(("k", "groups", "size"), [(40_000, 2, 30_000), (64, 3, 24)])
def test_groups_that_are_not_equal_are_spelled_for_exllama(k, groups, size):
    tensors = {"qweight": torch.empty(k // 8, 8), "qzeros": torch.empty(groups, 1)}
    assert _host_g_idx(tensors, size).tolist() == [row // size for row in range(k)]


def test_a_gpu_gives_both_stacks_problems_of_one_size():
    """In a process that takes this machine for one with a GPU."""
    program = "import torch; torch.cuda.is_available = lambda: True; " + "; ".join(
        f"from gptq_fuzz.adapters.{name} import {name.upper()} as {name}"
        for name in ("exllama", "triton")
    )
    program += "; print(exllama.limits.max_tiles, triton.limits.max_tiles)"
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    sizes = ran.stdout.split()
    assert len(sizes) == 2, ran.stderr
    assert sizes[0] == sizes[1]


def test_a_folder_is_looked_up_once_however_many_kernels_of_it_are_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("one", "two", "one"):
        (tmp_path / f"{name}.py").write_text("def f(x, **_): ...\n")
        load(f"{name}.py:f", str(tmp_path))
    assert (sys.path[0], sys.path.count(str(tmp_path))) == (str(tmp_path), 1)
