"""The extension is built on first use, once, whatever happened before; processes take turns."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kernels.exllama import build, toolchain
from kernels.exllama.build import BuildFailed, CannotBuild
from tests.exllama.parts import build_or_skip

pytestmark = pytest.mark.turns(2)

ROOT = Path(__file__).resolve().parents[2]
HAS_COMPILER = any(map(shutil.which, toolchain.COMPILERS))
compiles = pytest.mark.skipif(not HAS_COMPILER, reason="no_compiler")
# Two files, one of which includes a header: all that the build knows of an extension.
SMALL = {
    "answer.h": "inline long answer() { return 42; }\n",
    "module.cpp": """#include <Python.h>
#include "answer.h"
static PyModuleDef about = {PyModuleDef_HEAD_INIT, "small", nullptr, -1, nullptr};
extern "C" __attribute__((visibility("default"))) PyObject* PyInit_gptq_fuzz_exllama_host() {
  PyObject* module = PyModule_Create(&about);
  PyModule_AddIntConstant(module, "answer", answer());
  return module;
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
    monkeypatch.setattr(build, "SOURCES", folder)
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "cache"))
    return folder


def load():
    return build.extension.__wrapped__("cpu")


def cached(pattern):
    return sorted(Path(os.environ["TORCH_EXTENSIONS_DIR"]).rglob(pattern))


def test_the_extension_builds_where_there_is_a_compiler():
    assert build_or_skip("cpu").q4_matmul


@compiles
def test_a_build_runs_once_and_reports_it(small, capfd):
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
def test_the_end_of_the_compilers_output_is_shown(small):
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
from kernels.exllama import build
build.SOURCES = Path(sys.argv[1])
sys.exit(build.extension("cpu").answer != 42)
"""
HOLDER = """
import sys, time
from pathlib import Path
from kernels.exllama import build
recipe = build.host_recipe()
library = build._library_of(recipe, build._units(recipe, Path(sys.argv[1])))
with build._build_lock(library, recipe):
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
        errors = [process.communicate(timeout=300)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], errors
    assert sum("building" in text.replace("that builds", "") for text in errors) == 1, errors


@compiles
def test_a_lock_left_by_a_killed_process_holds_nobody_up(small):
    with start(HOLDER, small) as holder:
        assert holder.stdout.readline() == "held\n"
        with start(PROGRAM, small) as waiting:
            assert "waiting for another process" in waiting.stderr.readline()
            assert waiting.poll() is None
            os.kill(holder.pid, signal.SIGKILL)
            assert waiting.wait(timeout=60) == 0


@compiles
def test_a_compiler_that_does_not_end_is_ended(monkeypatch):
    monkeypatch.setattr(build, "COMPILE_LIMIT", 0.2)
    with pytest.raises(BuildFailed, match=r"after 0.2 s there was no end of\nsleep 60"):
        build._run(types.SimpleNamespace(what="it"), ["sleep", "60"])


def test_a_cache_that_cannot_be_written_is_named(small, monkeypatch):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", "/dev/null/cache")
    with pytest.raises(CannotBuild, match="set TORCH_EXTENSIONS_DIR"):
        load()


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


def test_a_file_system_without_locks_holds_nobody_up(tmp_path, monkeypatch):
    def no_locks(file, kind):
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    entered = []
    with build._build_lock(tmp_path / "a.so", types.SimpleNamespace(what="a library")):
        entered.append(True)
    assert entered


def test_builds_are_named_by_128_bits_of_all_that_they_depend_on():
    digest = hashlib.sha256(b"a source" + b"('c++', '-O2')" + b"'2.13.0'").hexdigest()
    assert build._digest(b"a source", ("c++", "-O2"), "2.13.0") == digest[: 128 // 4]


def test_threads_load_one_after_the_other(monkeypatch):
    """Two that build and load at once would have two copies of one library."""
    meeting = threading.Barrier(2, timeout=0.5)
    monkeypatch.setattr(build, "host_recipe", lambda: None)
    monkeypatch.setattr(build, "build", lambda recipe, sources: meeting.wait())
    with ThreadPoolExecutor(2) as pool:
        loads = [pool.submit(build.extension.__wrapped__, "cpu") for _ in range(2)]
    assert all(isinstance(load.exception(), threading.BrokenBarrierError) for load in loads)
