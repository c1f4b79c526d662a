"""A machine that cannot build the extension reports it and runs the rest; asked for it, it stops.

Also where a GPU is there and nvcc is not: then the host build is what runs.
"""

import pytest

from gptq_fuzz.adapters.control import matmul
from gptq_fuzz.case.backend import Backend
from gptq_fuzz.worker.served import Served
from kernels.exllama.build import CannotBuild
from tests.runs import QUIET, run_many
from tests.turns import todays

pytestmark = [pytest.mark.usefixtures("own_environment"), pytest.mark.turns(6, whole=True)]
CONFORMANCE = "gptq_fuzz/conformance/test_conformance.py"
CASE = ["--device", "cpu", "--case", "m1-n8-k8-b4-gall", *QUIET]
NO_COMPILER, NO_GOOD_ONE = {"PATH": "", "CXX": ""}, {"CXX": "false"}  # changes to the environment
SKIPPED = "gptq-fuzz: exllama skipped: the ExLlama extension needs a C++17 compiler"
SKIPPING = {
    # name: options, changes to the environment, exit status, words of the output
    # The control alone: not every numpy goes with the interpreter of the Triton of a GPU machine.
    "skipped": (["-k", "torch"], NO_COMPILER, 0, [SKIPPED, "PASS 1"]),
    "skipped under xdist": (["-k", "torch", "-n1"], NO_COMPILER, 0, [SKIPPED, "PASS 1"]),
}
RUNS = dict(todays(SKIPPING.items(), 2)) | {
    "asked for": (["--kernel", "exllama"], NO_COMPILER, 4, ["none of c++, g++", "install g++"]),
    "broken": (["--kernel", "exllama"], NO_GOOD_ONE, 4, ["could not be built: false ended"]),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Name -> (exit status, output)."""
    cache = str(tmp_path_factory.mktemp("cache"))
    ran = {}
    for changes in (NO_COMPILER, NO_GOOD_ONE):
        words = {n: [CONFORMANCE, *CASE, *run[0]] for n, run in RUNS.items() if run[1] is changes}
        ran |= run_many(words, TORCH_EXTENSIONS_DIR=cache, **changes)
    return ran


@pytest.mark.parametrize("name", RUNS)
def test_a_machine_that_cannot_build_reports_it(runs, name):
    status, output = runs[name]
    _, _, wanted, words = RUNS[name]
    assert status == wanted, output
    assert not [word for word in words if word not in output], output


def serve(monkeypatch, device, backend):
    """A worker of `backend` on a machine whose first device is a GPU, none of which is touched."""
    monkeypatch.setattr("gptq_fuzz.worker.served._device", lambda wanted, torch: wanted or "cuda:0")
    monkeypatch.setattr("torch.cuda.set_device", lambda device: None)
    monkeypatch.setattr("torch.set_num_threads", lambda count: None)
    monkeypatch.setattr("gptq_fuzz.worker.loader.load", lambda spec, started_in: backend)
    return Served({"device": device, "spec": "mine", "started_in": "", "zones": True})


def without_nvcc(device):
    if device != "cpu":
        raise CannotBuild("no nvcc\nhere")


def test_a_gpu_without_its_compiler_leaves_the_host_build(monkeypatch):
    backend = Backend("mine", matmul=matmul, start=without_nvcc)
    served = serve(monkeypatch, None, backend)
    assert (served.device, served.note) == ("cpu", "no nvcc")


@pytest.mark.parametrize(("device", "devices"), [("cuda:0", ("cuda", "cpu")), (None, ("cuda",))])
def test_no_other_device_is_taken_than_the_one_asked_for(monkeypatch, device, devices):
    backend = Backend("mine", matmul=matmul, start=without_nvcc, devices=devices)
    with pytest.raises(CannotBuild, match="no nvcc"):
        serve(monkeypatch, device, backend)
