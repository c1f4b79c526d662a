"""The tools that the extension is built with: which of several, which flags, what is missing."""

import types

import pytest
import torch

from kernels.exllama import build, toolchain
from kernels.exllama.build import BuildFailed, CannotBuild


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """No tools but those that a test installs, no GPU, a torch for CUDA 13.0, an empty cache."""
    monkeypatch.chdir(tmp_path)
    for name in ("CXX", "TORCH_CUDA_ARCH_LIST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(toolchain.cpp_extension, "CUDA_HOME", str(tmp_path / "home"))


@pytest.fixture
def install(tmp_path):
    """A function that puts a shell script of these lines into a folder and gives its path."""

    def put(name, script):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    return put


def nvcc_of(release):
    return f"echo 'Cuda compilation tools, release {release}, V{release}.1'"


def load(kind):
    return build.extension.__wrapped__(kind)


def test_a_missing_compiler_is_named_with_what_to_install(monkeypatch):
    with pytest.raises(CannotBuild, match=r"needs a C\+\+17 compiler, none of .*install g\+\+"):
        load("cpu")
    monkeypatch.setenv("CXX", "no-such-compiler -m64")
    with pytest.raises(CannotBuild, match="CXX=no-such-compiler is not on the PATH"):
        load("cpu")


def test_a_compiler_that_only_fails_is_a_failed_build(install, monkeypatch):
    monkeypatch.setenv("CXX", install("false", "exit 1"))
    with pytest.raises(BuildFailed, match=r"false ended with exit status 1(.|\n)*no output"):
        load("cpu")


def test_missing_headers_of_python_are_named(install, monkeypatch):
    install("path/c++", "")
    monkeypatch.setattr(toolchain.sysconfig, "get_path", lambda name: "/nowhere")
    with pytest.raises(CannotBuild, match=r"Python\.h is not there: install python3-dev"):
        load("cpu")


@pytest.mark.parametrize(("status", "given"), [(0, True), (1, False), (4, False)])
def test_locals_are_poisoned_where_the_compiler_can(install, monkeypatch, status, given):
    """What a kernel forgets to zero must not be zero by chance."""
    flag = toolchain.POISONED_LOCALS
    compiler = install("c++", f'case "$*" in *{flag}*) exit {status} ;; esac\necho a compiler')
    monkeypatch.setenv("CXX", compiler)
    command = toolchain.host_recipe().compile[".cpp"]
    assert command[0] == compiler
    assert (flag in command) == given


@pytest.mark.parametrize("number", range(6))
def test_of_several_cxx_libraries_it_is_the_same_one_in_every_process(number, monkeypatch):
    """It is part of the command, which names the build."""
    paths = [f"/opt/{number}/{name}/libstdc++.so.6.0.{number}" for name in "dbacfe"]
    maps = "".join(f"7f00-7f01 r-xp 00000000 08:01 1    {path}\n" for path in paths)
    file = types.SimpleNamespace(read_text=lambda: maps)
    monkeypatch.setattr(toolchain, "Path", lambda name: file)
    assert toolchain._cxx_library_of_this_process() == [min(paths)]


def test_nvcc_of_cuda_home_comes_before_the_one_on_the_path(install):
    install("path/nvcc", nvcc_of("13.0"))
    wanted = install("home/bin/nvcc", nvcc_of("13.0"))
    assert toolchain._nvcc() == wanted


@pytest.mark.parametrize("home", [None, "elsewhere"])
def test_where_cuda_home_has_no_nvcc_the_one_on_the_path_is_taken(install, home, monkeypatch):
    monkeypatch.setattr(toolchain.cpp_extension, "CUDA_HOME", home)
    wanted = install("path/nvcc", nvcc_of("13.0"))
    assert toolchain._nvcc() == wanted


@pytest.mark.bug("L-82")
@pytest.mark.parametrize(
    ("torch_cuda", "release", "words"),
    [(None, "13.0", "needs a torch with CUDA"), ("13.0", None, r"toolkit 13.0 \(nvcc\)"),
     ("13.0", "12.8", "is of CUDA 12"), ("13.0", "13.1", "needs a GPU or TORCH_CUDA_ARCH_LIST")],
)  # fmt: skip
def test_what_a_build_for_a_gpu_lacks_is_named(install, monkeypatch, torch_cuda, release, words):
    """Nothing is guessed from what the machine happens to have."""
    monkeypatch.setattr(torch.version, "cuda", torch_cuda)
    install("path/c++", "")
    if release:
        install("path/nvcc", nvcc_of(release))
    with pytest.raises(CannotBuild, match=words):
        load("cuda")


def test_machine_code_for_9_0_has_its_own_instructions_and_ptx_is_for_all(monkeypatch):
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "8.0;9.0+PTX")
    assert set(toolchain._architectures()) == {
        "-gencode=arch=compute_80,code=sm_80",
        "-gencode=arch=compute_90a,code=sm_90a",
        "-gencode=arch=compute_90,code=compute_90",
    }
