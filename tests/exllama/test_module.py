"""kernels/exllama.py by itself, over builds that only pretend to be some."""

import atexit
import importlib.util
import sys

import pytest
import torch

from kernels import exllama
from kernels.exllama import build as exllama_build

AGAIN = "kernels.exllama_again"


class Pretender:
    """A build that notes what it is asked for."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *given: self.calls.append((name, *given))


@pytest.fixture
def builds(monkeypatch):
    """Kind of device -> the build that stands for it, once one is asked for."""
    made = {}
    monkeypatch.setattr(exllama_build, "extension", lambda kind: made.setdefault(kind, Pretender()))
    return made


@pytest.fixture
def module(builds, monkeypatch):
    """Another copy of the module, imported just now."""
    spec = importlib.util.spec_from_file_location(
        AGAIN, exllama.__file__, submodule_search_locations=exllama.__path__
    )
    made = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, AGAIN, made)
    monkeypatch.setitem(sys.modules, f"{AGAIN}.build", exllama_build)
    spec.loader.exec_module(made)
    yield made
    atexit.unregister(made.cleanup)


@pytest.mark.bug("L-82")
def test_an_import_asks_for_no_build(module, builds):
    assert not builds


def test_each_device_has_a_build_of_its_own_and_settings_go_to_all(module, builds):
    """Whichever of them was loaded first."""
    for device in (exllama.CPU, 0):
        module.make_q4("qweight", "qzeros", "scales", None, device)
    module.set_tuning_params(0, True, False)
    assert list(builds) == ["cpu", "cuda"]
    for build in builds.values():
        assert [call[0] for call in build.calls] == ["make_q4", "set_tuning_params"]
        assert build.calls[-1][1:] == (0, True, False)


def test_another_kind_of_device_is_refused_before_anything_is_built(module, builds):
    with pytest.raises(ValueError, match="a CPU or a CUDA device, not on meta"):
        module.q4_matmul(torch.empty(1, 8, device="meta"), 0, None)
    assert not builds


def test_generations_are_counted(module):
    """Each cleanup begins another one; none has come before the first."""
    assert module.generation() == 0
    module.cleanup()
    assert module.generation() == 1
