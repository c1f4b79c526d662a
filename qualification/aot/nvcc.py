"""The CUDA sources of the ExLlama extension by nvcc: what each kernel needs per architecture."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kernels.exllama.toolchain import LEAST

from .compare import Binary
from .resources import CUOBJDUMP, Built, Resources, res_usage

SOURCES = Path(__file__).resolve().parents[2] / "kernels" / "exllama" / "ext"
FLAGS = ("-std=c++17", "-O3", "-cubin")
ANY_THREADS = 1024  # a launch may have as many where a kernel does not say `__launch_bounds__`
SERIALISED = "instructions are serialized"  # in what ptxas says of wgmma
LOCAL_NAMES = re.compile(r"\(anonymous namespace\)::|exllama::|^void |\([\w:]+\)(?=\d)")


class CannotCompile(RuntimeError):
    """nvcc refused a source; the message ends with its words."""


def targets(chosen: Iterable[str]) -> list[str]:
    """Those of the architectures that nvcc compiles for and the extension runs on."""
    return [name for name in chosen if name[:3] == "sm_" and int(name[3:]) >= LEAST]


def compiler() -> str | None:
    """`nvcc 13.0.88`; None where there is no nvcc."""
    if shutil.which("nvcc") is None:
        return None
    about = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True)
    return f"nvcc {re.search(r', V([0-9.]+)', about.stdout)[1]}"


def build(chosen: Iterable[str]) -> list[Binary]:
    """Of each architecture that nvcc compiles for. Raises CannotCompile."""
    jobs = [(arch, source) for arch in targets(chosen) for source in sources()]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        built = pool.map(lambda job: compiled(*job), jobs)
        return [binary for binaries in built for binary in binaries]


def sources() -> list[Path]:
    return sorted(SOURCES.glob("*.cu"))


def compiled(arch: str, source: Path) -> list[Binary]:
    """A binary for each kernel of the source. Raises CannotCompile."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder, "kernels.cubin")
        command = ["nvcc", *FLAGS, *_target(arch), str(source), "-o", str(cubin)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise CannotCompile(f"{source.name} for {arch}: {ended.stderr.strip()[-2000:]}")
        if SERIALISED in ended.stderr:  # right, and as slow as without them
            raise CannotCompile(f"{source.name} for {arch}: wgmma instructions are serialised")
        usage = res_usage(_cuobjdump("-res-usage", cubin))
        threads = most_threads(_cuobjdump("-elf", cubin))
    binaries = []
    for function, counts in sorted(usage.items()):
        name = plain(function)
        built = Built(resources(counts, threads.get(function, ANY_THREADS)))
        binaries.append(Binary.of(arch, name.partition("<")[0], name, built))
    return binaries


def resources(counts: dict[str, int], threads: int) -> Resources:
    return Resources(
        threads=threads, registers=counts["REG"], shared=counts["SHARED"], stack=counts["STACK"]
    )


def most_threads(elf: str) -> dict[str, int]:
    """Function -> the threads of its `__launch_bounds__`, from what `cuobjdump -elf` prints."""
    found = {}
    for section in re.split(r"^\.nv\.info\.", elf, flags=re.MULTILINE)[1:]:
        bound = re.search(r"EIATTR_MAX_THREADS\s+Format:.*\s+Value:\s+(0x[0-9a-f]+)", section)
        if bound:
            found[section.split(maxsplit=1)[0]] = int(bound[1], 16)
    return found


def plain(mangled: str) -> str:
    """`multiply_kernel<4, false, true>`: without namespaces and parameters."""
    if shutil.which("c++filt") is None:
        return mangled
    filtered = subprocess.run(["c++filt", mangled], capture_output=True, text=True, check=True)
    return LOCAL_NAMES.sub("", filtered.stdout.strip()).partition("(")[0]


def _target(arch: str) -> list[str]:
    """As the extension is built: for 9.0 with the instructions that no later architecture has."""
    name = arch + "a" * (arch == "sm_90")
    return [f"-gencode=arch={name.replace('sm', 'compute')},code={name}"]


def _cuobjdump(option: str, cubin: Path) -> str:
    command = [CUOBJDUMP, option, cubin]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
