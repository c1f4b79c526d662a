"""The compilers that the ExLlama extension is built with, and their commands."""

import functools
import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils import cpp_extension
from torch.utils.cpp_extension import library_paths

NAME = "gptq_fuzz_exllama"
COMPILERS = ("c++", "g++", "clang++")
TORCH = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
STANDARD = "-std=c++20" if TORCH >= (2, 14) else "-std=c++17"  # of torch's headers
COMMON = (STANDARD, "-fPIC", "-fvisibility=hidden", "-pthread")
# Without contraction a host build gives the same bits on every CPU.
HOST_FLAGS = ("-O2", "-ffp-contract=off", "-Wno-unknown-pragmas", "-DEXLLAMA_HOST")
POISONED_LOCALS = "-ftrivial-auto-var-init=pattern"  # what a kernel forgets to zero is no zero
KERNELS_AS_CPP = "host_build.cpp"  # includes the .cu files; nvcc takes these themselves
LEAST = 80  # compute capability times ten, for the kernels' tensor-core instruction


class CannotBuild(RuntimeError):
    """A tool that the build needs is not there; the message names it, and what to install."""


@dataclass(frozen=True)
class Recipe:
    """How one version is built: `compile[suffix]` and `link` are commands without their files."""

    name: str
    what: str
    compile: dict[str, tuple[str, ...]]
    link: tuple[str, ...]
    versions: tuple[str, ...]
    without: tuple[str, ...] = ()  # files of the other version


def host_recipe():
    compiler = _cxx()
    torch_flags, torch_link = _torch_flags(f"{NAME}_host", "cpu")
    flags = (*COMMON, *HOST_FLAGS, *[POISONED_LOCALS] * _takes(compiler, POISONED_LOCALS))
    return Recipe(
        name=f"{NAME}_host",
        what="the host build of the ExLlama extension",
        compile={".cpp": (*compiler, *flags, *torch_flags)},
        link=(*compiler, "-shared", "-pthread", *torch_link),
        versions=(_version(compiler), torch.__version__, sysconfig.get_config_var("SOABI")),
    )


def cuda_recipe():
    nvcc, compiler = _nvcc(), _cxx()
    torch_flags, torch_link = _torch_flags(NAME, "cuda")
    kernels = ("-std=c++17", "-O3", "-lineinfo", "-Xcompiler", "-fPIC,-fvisibility=hidden")
    if "CXX" in os.environ and len(compiler) == 1:
        kernels += ("-ccbin", *compiler)
    return Recipe(
        name=NAME,
        what="the ExLlama extension",
        compile={
            ".cu": (nvcc, *kernels, *_architectures()),
            ".cpp": (*compiler, *COMMON, "-O2", *torch_flags),
        },
        link=(*compiler, "-shared", *torch_link),
        versions=(_version((nvcc,)), _version(compiler), torch.__version__),
        without=(KERNELS_AS_CPP,),
    )


def _torch_flags(name, kind):
    """Flags for the file that includes torch, and for linking with it."""
    python = sysconfig.get_path("include")
    if not Path(python, "Python.h").is_file():
        raise CannotBuild(
            f"the ExLlama extension needs the headers of Python, {python}/Python.h is not there: "
            "install python3-dev (Debian, Ubuntu), python3-devel (Fedora), or another Python"
        )
    includes = [*cpp_extension.include_paths(kind), python]
    libraries = ["c10", "torch_cpu", "torch", "torch_python"]
    libraries += ["c10_cuda", "torch_cuda", "cudart"] if kind == "cuda" else []
    link = [f"-L{path}" for path in library_paths(kind)]
    link += ["-Wl,--no-as-needed"] + [f"-l{library}" for library in libraries]
    link += _cxx_library_of_this_process()
    flags = [f"-isystem{path}" for path in includes]
    return (*flags, f"-DTORCH_EXTENSION_NAME={name}"), tuple(link)


def _cxx_library_of_this_process():
    """The C++ library that torch has loaded, by its path.

    A compiler in a folder of its own may link another one, statically even; with two in a process
    the first text that one writes and the other reads is a crash.
    """
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return []
    return sorted(set(re.findall(r"\S+/libstdc\+\+\.so\.6\S*", maps)))[:1]


def _cxx():
    """The command of the C++ compiler: CXX, else the first that there is."""
    given = shlex.split(os.environ.get("CXX", ""))
    for command in [given] if given else [[name] for name in COMPILERS]:
        if shutil.which(command[0]):
            return tuple(command)
    looked = f"CXX={given[0]}" if given else f"none of {', '.join(COMPILERS)}"
    raise CannotBuild(
        f"the ExLlama extension needs a C++17 compiler, {looked} is not on the PATH: install g++ "
        "(Debian, Ubuntu: apt-get install g++; Fedora: dnf install gcc-c++) or set CXX"
    )


def _nvcc():
    """nvcc of the CUDA version that torch was built for."""
    wanted = torch.version.cuda
    if wanted is None:
        raise CannotBuild(
            f"the ExLlama extension needs a torch with CUDA for tensors on a GPU, this one "
            f"({torch.__version__}) has none"
        )
    nvcc = shutil.which("nvcc", path=os.path.join(cpp_extension.CUDA_HOME or "", "bin"))
    nvcc = nvcc or shutil.which("nvcc")
    found = re.search(r"release (\d+)\.", _version((nvcc,))) if nvcc else None
    if found is None or found[1] != wanted.split(".")[0]:
        got = f"{nvcc} is of CUDA {found[1]}" if found else "nvcc is not there"
        raise CannotBuild(
            f"the ExLlama extension needs the CUDA toolkit {wanted} (nvcc) for tensors on a GPU, "
            f"{got}: install it (conda: cuda-nvcc) or set CUDA_HOME"
        )
    return nvcc


def _architectures():
    """nvcc's flags for TORCH_CUDA_ARCH_LIST or the GPUs at hand, those that the kernels run on."""
    if not os.environ.get("TORCH_CUDA_ARCH_LIST") and not torch.cuda.is_available():
        raise CannotBuild("the ExLlama extension needs a GPU or TORCH_CUDA_ARCH_LIST to build for")
    flags = cpp_extension._get_cuda_arch_flags()
    usable = [flag for flag in flags if int(re.search(r"compute_(\d+)", flag)[1]) >= LEAST]
    if not usable:
        raise CannotBuild(
            f"the ExLlama extension needs compute capability {LEAST / 10} or newer, got {flags}"
        )
    # With "a" come the instructions of 9.0 that no later architecture has: wgmma, setmaxnreg. PTX,
    # which later ones are to compile, does without.
    return [re.sub(r"compute_90,code=sm_90$", "compute_90a,code=sm_90a", flag) for flag in usable]


@functools.cache
def _takes(compiler, flag):
    command = [*compiler, flag, "-x", "c++", "-fsyntax-only", os.devnull]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


@functools.cache
def _version(command):
    """The output of a compiler's --version."""
    command = [*command, "--version"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return ran.stdout
