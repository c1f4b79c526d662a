"""The autotuner on a GPU: real timings, results shared by processes, graphs, the short way in."""

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
import triton
import triton.language as tl
from hypothesis import given
from hypothesis import strategies as st

from kernels.custom_autotune import autotune
from kernels.custom_autotune.store import FOLDER

pytestmark = pytest.mark.gpu
ROOT = Path(__file__).resolve().parents[2]
SIZES = (1, 2, 15, 16, 17, 32, 48, 1024)

SECOND_PROCESS = """
import json, sys, time, torch
from kernels.custom_autotune import autotuner
from kernels.custom_autotune.timing import measure
from kernels.triton_matmul import matmul_248_kernel
from kernels.quant_linear import QuantLinear

timed = []
autotuner.measure = lambda *call: timed.append(1) or measure(*call)
layer = QuantLinear.new(8, 16, 256, 256, False).cuda()  # groups for the general kernel
layer(torch.ones(3, 256, dtype=torch.float16, device="cuda"))
((winners,),) = [list(matmul_248_kernel.cache.values())]
print(json.dumps({"timed": len(timed), "winners": [str(w.config) for w in winners.values()]}))
"""


@triton.jit
def fill_kernel(out_ptr, extra_ptr, size, step, factor, flag, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = offsets * step * factor
    if extra_ptr is not None:
        value += tl.load(extra_ptr)
    if flag:
        value += 1
    tl.store(out_ptr + offsets, value.to(out_ptr.dtype.element_ty), mask=offsets < size)


@triton.jit
def add_one_kernel(x_ptr, size, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offsets, mask=offsets < size)
    tl.store(x_ptr + offsets, x + 1, mask=offsets < size)


def tuner(*blocks, kernel=fill_kernel):
    """Keeps nothing on disk."""
    tuner = autotune([triton.Config({"BLOCK": block}) for block in blocks], ["size"])(kernel)
    tuner.store = types.SimpleNamespace(load=lambda identity: None, save=lambda *document: None)
    return tuner


SHARED = tuner(64)  # one tuner for all examples: what one call leaves behind, another may find
OPTIONS = SHARED.configs[0].all_kwargs()


@st.composite
def calls(draw):
    """(out, extra, size, step, factor, flag): every class that Triton compiles for by itself."""
    dtype = draw(st.sampled_from([torch.float32, torch.float16, torch.int32]))
    size, first = draw(st.sampled_from(SIZES)), draw(st.sampled_from([0, 1, 16]))
    out = torch.zeros(size + first, dtype=dtype, device="cuda")[first:]
    extra = draw(st.sampled_from([None, torch.ones(1, device="cuda")]))
    step = draw(st.sampled_from([*SIZES, 0, 2**31, 2**40, True]))
    factor = draw(st.sampled_from([0.0, -0.0, 1.5, 2, 1]))
    return out, extra, size, step, factor, draw(st.booleans())


@pytest.mark.bug("L-30 AT-10 AT-16")
@given(st.lists(calls(), min_size=1, max_size=4))
def test_the_short_way_launches_the_kernel_that_triton_would(drawn):
    """The same compiled kernel, and so the same result, in any order."""
    for arguments in drawn:
        for _ in range(2):
            kernel = SHARED[(16,)](*arguments)
            result = arguments[0].clone()
            arguments[0].zero_()
            own = fill_kernel.run(*arguments, grid=(16,), warmup=False, **OPTIONS)
            assert kernel is own
            assert torch.equal(result, arguments[0])


def test_a_warm_launch_does_not_ask_triton_again(monkeypatch):
    tuned, out = tuner(64), torch.zeros(100, device="cuda")
    tuned[lambda meta: (triton.cdiv(100, meta["BLOCK"]),)](out, None, 100, 1, 1, False)
    monkeypatch.setattr(type(fill_kernel), "run", None)
    out.zero_()
    tuned[lambda meta: (triton.cdiv(meta["size"], meta["BLOCK"]),)](out, None, 100, 1, 1, False)
    assert torch.equal(out, torch.arange(100.0, device="cuda"))


@pytest.mark.bug("L-40 AC-10 AT-08")
@pytest.mark.parametrize("first", [0, 1])
def test_a_kernel_in_place_is_timed_without_a_trace(first):
    """Whatever the alignment of what it is called on."""
    x = torch.arange(100.0, device="cuda")
    grid = lambda meta: (triton.cdiv(meta["size"], meta["BLOCK"]),)  # noqa: E731
    tuner(64, 128, kernel=add_one_kernel)[grid](x[first:], 100 - first)
    assert torch.equal(x[first:], torch.arange(100.0, device="cuda")[first:] + 1)
    assert x[:first].tolist() == [0.0] * first


def test_a_cleared_tuner_chooses_again():
    tuned, out = tuner(64, 128), torch.zeros(100, device="cuda")
    tuned[(2,)](out, None, 100, 1, 1, False)
    tuned.clear()
    tuned._best = lambda configs, *call: configs[1]
    assert tuned[(2,)](out, None, 100, 1, 1, False).src.constants[(6,)] == 128


@pytest.mark.bug("ST-03 L-11")
def test_an_untuned_key_raises_in_a_capture_and_the_stream_stays_usable():
    tuned, out = tuner(64, 128), torch.zeros(100, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        with pytest.raises(RuntimeError, match="before the capture"):
            tuned[(2,)](out, None, 100, 1, 1, False)
        out.add_(1)
    graph.replay()
    assert torch.equal(out, torch.ones(100, device="cuda"))
    tuned[(2,)](out, None, 100, 1, 1, False)
    assert torch.equal(out, torch.arange(100.0, device="cuda"))


def test_a_tuned_key_is_captured_with_its_short_way():
    tuned, out = tuner(64, 128), torch.zeros(100, device="cuda")
    tuned[(2,)](out, None, 100, 1, 1, False)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        tuned[(2,)](out, None, 100, 1, 1, False)
    out.zero_()
    graph.replay()
    assert torch.equal(out, torch.arange(100.0, device="cuda"))


@pytest.mark.bug("AT-13")
def test_a_second_process_tunes_nothing(tmp_path):
    """Same winner, no timing; another folder: timed again."""
    first, second = (tuned_elsewhere(tmp_path / "kept") for _ in range(2))
    assert first["timed"] > 1
    assert second == {"timed": 0, "winners": first["winners"]}
    assert tuned_elsewhere(tmp_path / "empty")["timed"] == first["timed"]


def tuned_elsewhere(folder):
    env = {**os.environ, FOLDER: str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", SECOND_PROCESS], cwd=ROOT, env=env, check=True, timeout=120,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def test_hooks_of_triton_see_the_short_way_too():
    """Profilers count launches by them."""
    tuned, out, seen = tuner(64), torch.zeros(100, device="cuda"), []
    hook = triton.knobs.runtime.launch_enter_hook
    tuned[(2,)](out, None, 100, 1, 1, False)
    hook.add(seen.append)
    try:
        tuned[(2,)](out, None, 100, 1, 1, False)
    finally:
        hook.remove(seen.append)
    assert [metadata.get()["name"] for metadata in seen] == ["fill_kernel"]
