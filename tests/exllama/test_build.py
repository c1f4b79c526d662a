"""The extension is built on first use, once, whatever happened before; and says what it lacks."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kernels.exllama import build as exllama_build
from kernels.exllama import toolchain as exllama_toolchain
from kernels.exllama.build import BuildFailed, CannotBuild
from tests.exllama.parts import build_or_skip

ROOT = Path(__file__).resolve().parents[2]
HAS_COMPILER = any(shutil.which(name) for name in exllama_toolchain.COMPILERS)
compiles = pytest.mark.skipif(not HAS_COMPILER, reason="no_compiler")
# Two files, one of which includes a header: as much of an extension as the build can tell.
SMALL = {
    "answer.h": "inline long answer() { return 42; }\n",
    "module.cpp": """#include <Python.h>
#include "answer.h"
static PyModuleDef about = {PyModuleDef_HEAD_INIT, "small", nullptr, -1, nullptr};
extern "C" __attribute__((visibility("default"))) PyObject* PyInit_gptq_fuzz_exllama_host() {
  PyObject* made = PyModule_Create(&about);
  PyModule_AddIntConstant(made, "answer", answer());
  return made;
}
""",
    "other.cpp": "long other() { return 7; }\n",
}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder of SMALL in place of the extension's sources, and an empty cache."""
    folder = tmp_path / "sources"
    folder.mkdir()
    for name, text in SMALL.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(exllama_build, "SOURCES", folder)
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "cache"))
    return folder


def load():
    return exllama_build.extension.__wrapped__("cpu")


def cached(pattern):
    return sorted(Path(os.environ["TORCH_EXTENSIONS_DIR"]).rglob(pattern))


def test_the_extension_builds_where_there_is_a_compiler():
    assert build_or_skip("cpu").q4_matmul


@compiles
def test_a_build_is_made_once_and_tells_so(small, capfd):
    assert load().answer == 42
    assert "building the host build of the ExLlama extension" in capfd.readouterr().err
    assert load().answer == 42
    assert not capfd.readouterr().err


@compiles
def test_another_header_costs_only_the_files_that_include_it(small):
    load()
    (small / "answer.h").write_text(SMALL["answer.h"].replace("42", "43"))
    assert load().answer == 43
    assert (len(cached("module-*.o")), len(cached("other-*.o"))) == (2, 1)


@compiles
@pytest.mark.parametrize("damage", [b"", b"\x7fELF", None], ids=["empty", "cut", "changed"])
def test_a_damaged_library_is_built_again(small, damage):
    load()
    (library,) = cached("*.so")
    whole = library.read_bytes()
    library.unlink()  # it stays mapped
    library.write_bytes(whole[:-1] + b"!" if damage is None else damage)
    assert load().answer == 42
    assert library.read_bytes()[-1:] == whole[-1:]


@compiles
def test_a_damaged_object_file_fails_one_build_and_not_the_next(small):
    load()
    for path in cached("*.so") + cached("module-*.o"):
        path.unlink() if path.suffix == ".so" else path.write_bytes(b"damaged")
    with pytest.raises(BuildFailed):
        load()
    assert load().answer == 42


@compiles
def test_what_the_compiler_said_last_is_shown(small):
    (small / "other.cpp").write_text("#error the reason\n")
    with pytest.raises(
        BuildFailed, match=r"could not be built: .* exit status 1\n(.|\n)*the reason"
    ):
        load()
    (small / "other.cpp").write_text(SMALL["other.cpp"])
    assert load().answer == 42


PROGRAM = """
import sys
from pathlib import Path
from kernels.exllama import build as exllama_build
exllama_build.SOURCES = Path(sys.argv[1])
sys.exit(exllama_build.extension("cpu").answer != 42)
"""
HOLDER = """
import sys, time
from pathlib import Path
from kernels.exllama import build as exllama_build
recipe = exllama_build.host_recipe()
library = exllama_build._place(recipe, exllama_build._units(recipe, Path(sys.argv[1])))
with exllama_build._turn(library, recipe):
    sys.stdout.write("held\\n")
    sys.stdout.flush()
    time.sleep(600)
"""


def start(program, *arguments):
    command = [sys.executable, "-c", program, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, **pipes)


@compiles
def test_processes_that_build_at_once_do_not_collide(small):
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(start(PROGRAM, small)) for _ in range(3)]
        said = [process.communicate(timeout=300)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], said
    assert sum("building" in text.replace("that builds", "") for text in said) == 1, said


@compiles
def test_a_lock_left_by_a_killed_process_holds_nobody_up(small):
    with start(HOLDER, small) as holder:
        assert holder.stdout.readline() == "held\n"
        with start(PROGRAM, small) as waiting:
            assert "waiting for another process" in waiting.stderr.readline()
            assert waiting.poll() is None
            os.kill(holder.pid, signal.SIGKILL)
            assert waiting.wait(timeout=60) == 0


def test_a_missing_compiler_is_named_with_what_to_install(small, monkeypatch, tmp_path):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotBuild, match=r"needs a C\+\+17 compiler, none of .*install g\+\+"):
        load()
    monkeypatch.setenv("CXX", "no-such-compiler -m64")
    with pytest.raises(CannotBuild, match="CXX=no-such-compiler is not on the PATH"):
        load()


def test_a_compiler_that_only_fails_is_a_failed_build(small, monkeypatch):
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(BuildFailed, match=r"false ended with exit status 1(.|\n)*said nothing"):
        load()


@compiles
def test_missing_headers_of_python_are_named(small, monkeypatch):
    monkeypatch.setattr(exllama_toolchain.sysconfig, "get_path", lambda name: "/nowhere")
    with pytest.raises(CannotBuild, match=r"Python\.h is not there: install python3-dev"):
        load()


@compiles
def test_a_cache_that_cannot_be_written_is_named(small, monkeypatch):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", "/dev/null/cache")
    with pytest.raises(CannotBuild, match="set TORCH_EXTENSIONS_DIR"):
        load()


@pytest.mark.bug("L-82")
@compiles
@pytest.mark.parametrize(
    ("torch_cuda", "release", "words"),
    [(None, "13.0", "needs a torch with CUDA"), ("13.0", None, r"toolkit 13.0 \(nvcc\)"),
     ("13.0", "12.8", "is of CUDA 12"), ("13.0", "13.1", "needs a GPU or TORCH_CUDA_ARCH_LIST")],
)  # fmt: skip
def test_what_a_build_for_a_gpu_lacks_is_named(
    small, monkeypatch, tmp_path, torch_cuda, release, words
):
    """Nothing is guessed from what the machine happens to have."""
    monkeypatch.setattr(torch.version, "cuda", torch_cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(exllama_toolchain.cpp_extension, "CUDA_HOME", str(tmp_path / "cuda"))
    monkeypatch.delenv("TORCH_CUDA_ARCH_LIST", raising=False)
    monkeypatch.setattr(exllama_toolchain, "_cxx", lambda: (shutil.which("true"),))
    monkeypatch.setenv("PATH", str(tmp_path))
    if release:
        (tmp_path / "nvcc").write_text(f"#!/bin/sh\necho 'Cuda, release {release}, V'\n")
        (tmp_path / "nvcc").chmod(0o755)
    with pytest.raises(CannotBuild, match=words):
        exllama_build.extension.__wrapped__("cuda")


@pytest.mark.bug("B-33 L-82")
def test_importing_builds_nothing_and_starts_no_cuda(tmp_path):
    program = (
        "import torch, kernels.exllama, kernels.exllama.linear\n"
        "assert not torch.cuda.is_initialized()\n"
        "assert not kernels.exllama._loaded"
    )
    environment = os.environ | {"TORCH_EXTENSIONS_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-c", program]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=120)
    assert not (tmp_path / "cache").exists()
