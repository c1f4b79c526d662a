"""Which tools the extension is built with where there are several; names of builds; threads."""

import hashlib
import threading
import types
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from kernels.exllama import build as exllama_build
from kernels.exllama import toolchain as exllama_toolchain

NVCC = "#!/bin/sh\necho 'Cuda compilation tools, release 13.0, V13.0.1'\n"


@pytest.fixture
def nvcc(tmp_path, monkeypatch):
    """A function that puts an nvcc into a folder and gives its path."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.chdir(tmp_path)

    def put(folder):
        path = tmp_path / folder / "nvcc"
        path.parent.mkdir(parents=True)
        path.write_text(NVCC)
        path.chmod(0o755)
        return str(path)

    return put


def test_nvcc_of_cuda_home_comes_before_the_one_on_the_path(nvcc, tmp_path, monkeypatch):
    nvcc("path")
    wanted = nvcc("home/bin")
    monkeypatch.setattr(exllama_toolchain.cpp_extension, "CUDA_HOME", str(tmp_path / "home"))
    assert exllama_toolchain._nvcc() == wanted


@pytest.mark.parametrize("home", [None, "elsewhere"])
def test_where_cuda_home_has_no_nvcc_the_one_on_the_path_is_taken(nvcc, home, monkeypatch):
    wanted = nvcc("path")
    monkeypatch.setattr(exllama_toolchain.cpp_extension, "CUDA_HOME", home)
    assert exllama_toolchain._nvcc() == wanted


@pytest.mark.parametrize("number", range(6))
def test_of_several_cxx_libraries_it_is_the_same_one_in_every_process(number, monkeypatch):
    """It is part of the command, which names the build."""
    paths = [f"/opt/{number}/{name}/libstdc++.so.6.0.{number}" for name in "dbacfe"]
    maps = "".join(f"7f00-7f01 r-xp 00000000 08:01 1    {path}\n" for path in paths)
    file = types.SimpleNamespace(read_text=lambda: maps)
    monkeypatch.setattr(exllama_toolchain, "Path", lambda name: file)
    assert exllama_toolchain._cxx_library_of_this_process() == [min(paths)]


def test_builds_are_named_by_128_bits_of_all_that_they_depend_on():
    read = hashlib.sha256(b"a source" + b"('c++', '-O2')" + b"'2.13.0'").hexdigest()
    assert exllama_build._digest(b"a source", ("c++", "-O2"), "2.13.0") == read[: 128 // 4]


def test_threads_load_one_after_the_other(monkeypatch):
    """Two that build and load at once would have two copies of one library."""
    meeting = threading.Barrier(2, timeout=0.5)
    monkeypatch.setattr(exllama_build, "host_recipe", lambda: None)
    monkeypatch.setattr(exllama_build, "build", lambda recipe, sources: meeting.wait())
    with ThreadPoolExecutor(2) as pool:
        loads = [pool.submit(exllama_build.extension.__wrapped__, "cpu") for _ in range(2)]
    assert all(isinstance(load.exception(), threading.BrokenBarrierError) for load in loads)
