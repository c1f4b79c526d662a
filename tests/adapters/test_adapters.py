"""Each shipped adapter whose package is here: right within its terms, its findings found again."""

import contextlib
import os
from pathlib import Path

import pytest
import torch

import gptq_fuzz
from gptq_fuzz._checkout import ROOT
from gptq_fuzz.adapters.lorax import ANY_PLACE
from gptq_fuzz.case.case import Case
from gptq_fuzz.worker.packages import PACKAGES, installed, kernels_of, split
from gptq_fuzz.worker.supervisor import Launch, Worker

pytestmark = pytest.mark.turns(3)

# --kernel -> what it does right; its findings lie outside
RIGHT = {
    "aten:int4": "",
    "aten:int8": "f16",
    "autogptq:torch": "zsym",
    "autogptq:triton": "pad-zsym-n256*-k128*",
    "gemlite": "m64+-g2+",
    "gptqmodel:aten": "",
    "gptqmodel:torch": "",
    "gptqmodel:triton": "",
    "hqq": "",
    "lorax": "pad-n256*-k128*",
    "quanto": "",
    "sglang": "",
    "torchao:mixed_mm": "g32-n256*",
    "vllm-moe": "k64*",
    "vllm:awq-dequantize": "",
    "vllm:awq-f16": "off",
    "vllm:w4a16": "k32*",
}
FINDINGS = {path.stem: path for path in sorted((ROOT / "findings").glob("*.txt"))}
ON_SOME_CPUS = {"hqq": "amx_bf16"}  # findings of a library that another CPU does not run
ON_A_GPU = ("quanto",)  # whose findings are of its own kernels there
SECONDS = 4.0


def needs(spec):
    name = split(spec)[0]
    if PACKAGES[name] and not installed(name):
        pytest.skip(f"not installed: {PACKAGES[name]}")
    if not PACKAGES[name] and ANY_PLACE not in os.environ:
        pytest.skip(f"{ANY_PLACE} names no file")


def device_of(spec):
    """Where it runs: a GPU only for what has no other place, or shows nothing there."""
    if spec not in ON_A_GPU and "cpu" in kernels_of(split(spec)[0]).get(spec, ("cpu",)):
        return "cpu"
    if not torch.cuda.is_available():
        pytest.skip("no_gpu")
    return "cuda:0"


@contextlib.contextmanager
def working(spec, device="cpu"):
    worker = Worker(Launch(spec, str(ROOT), device=device))
    worker.start()
    yield worker
    worker.stop()


@pytest.mark.parametrize("spec", RIGHT)
def test_a_right_kernel_passes(spec):
    needs(spec)
    assert gptq_fuzz.check(spec, only=RIGHT[spec], budget=SECONDS, device="cpu").cases


@pytest.mark.parametrize("spec", RIGHT)
def test_a_right_kernel_wrapped_wrongly_fails(spec):
    needs(spec)
    place = f"tests/adapters/wrapped_wrongly.py:{spec.replace(':', '_')}"
    with working(place) as worker:
        sizes = {"m": 64, "n": 256, "k": 128, "bits": worker.limits.bits[0], "group_size": 32}
        others = {"zeros": "zsym", "dtype": worker.limits.dtypes[0]}
        others |= {"scales_dtype": worker.limits.scales_dtypes[0]}
        others |= {"checkpoint_format": worker.limits.formats[0]}
        if 32 not in (worker.limits.group_sizes or (32,)):
            sizes["group_size"] = worker.limits.group_sizes[0]
        assert worker.ask(Case(**sizes, **others), ()).kind == "WRONG"


@pytest.mark.parametrize("name", FINDINGS)
def test_a_finding_is_found_again(name):
    spec = max((spec for spec in (name, name.replace("-", ":", 1)) if split(spec)[0]), key=len)
    needs(spec)
    if name in ON_SOME_CPUS and ON_SOME_CPUS[name] not in Path("/proc/cpuinfo").read_text():
        pytest.skip(f"no_{ON_SOME_CPUS[name]}")
    with working(spec, device_of(spec)) as worker:
        for text in read_lines(FINDINGS[name]):
            case = Case.parse(text, worker.limits.tokens)
            assert not worker.limits.violations(case), text
            assert not worker.ask(case).ok, text


def read_lines(path):
    lines = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
    return [line for line in lines if line]


def test_a_cpu_stands_in_for_a_gpu_and_each_config_is_met_again_by_its_line():
    pytest.importorskip("triton")
    met = []
    for _ in range(2):
        with working("tests/adapters/tuned_kernel.py:KERNEL") as worker:
            lines = [f"m2-n4-k4-b8-gall-tuned{order}" for order in range(8)]
            met.append([worker.ask(Case.parse(x, worker.limits.tokens), ()).kind for x in lines])
    assert met[0] == met[1]
    assert set(met[0]) == {"PASS", "WRONG"}


def test_a_file_called_like_the_package_that_it_imports_does_not_hide_it(tmp_path):
    text = "from safetensors import safe_open\n\n\ndef f(**operands):\n    return safe_open\n"
    (tmp_path / "safetensors.py").write_text(text)
    with working(f"{tmp_path}/safetensors.py:f") as worker:
        assert worker.description["device"] == "CPU"


def test_every_kernel_is_listed_with_what_is_missing():
    from gptq_fuzz.worker.listing import rows

    listed = {line[0].partition(":")[0] for line in rows()}
    assert listed == {"kernel", "triton", "exllama", "torch", *PACKAGES}
