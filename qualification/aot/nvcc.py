"""The CUDA sources of the ExLlama extension by nvcc: what each kernel needs per architecture."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kernels.exllama.toolchain import LEAST

from .architectures import ARCHITECTURES
from .resources import CUOBJDUMP, Built, Resources, res_usage
from .table import Table, line_of

SOURCES = Path(__file__).resolve().parents[2] / "kernels" / "exllama" / "ext"
FLAGS = ("-std=c++17", "-O3", "-cubin")
PREFIX = "exllama_"  # of a table's name
ANY_THREADS = 1024  # a launch may have as many where a kernel does not say `__launch_bounds__`
LOCAL_NAMES = re.compile(r"\(anonymous namespace\)::|exllama::|^void ")


class CannotCompile(RuntimeError):
    """nvcc refused a source; the message ends with its words."""


def targets(chosen: Iterable[str]) -> list[str]:
    """Those of the architectures that nvcc compiles for and the extension runs on."""
    return [name for name in chosen if name[:3] == "sm_" and int(name[3:]) >= LEAST]


def compiler() -> str | None:
    """`nvcc 13.0.88`; None where there is no nvcc."""
    if shutil.which("nvcc") is None:
        return None
    said = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True).stdout
    return f"nvcc {re.search(r', V([0-9.]+)', said)[1]}"


def tables(chosen: Iterable[str], advance: Callable[[], object]) -> list[Table]:
    """A table per architecture; `advance` is called once for each file compiled.

    Raises CannotCompile.
    """
    made = {arch: Table(f"{PREFIX}{arch}", compiler()) for arch in targets(chosen)}

    def work(job: tuple[str, Path]) -> dict[str, str]:
        lines = compiled(*job)
        advance()
        return lines

    jobs = [(arch, source) for arch in made for source in sources()]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for (arch, _), lines in zip(jobs, pool.map(work, jobs), strict=True):
            made[arch].lines.update(lines)
    return list(made.values())


def sources() -> list[Path]:
    return sorted(SOURCES.glob("*.cu"))


def compiled(arch: str, source: Path) -> dict[str, str]:
    """Name of a kernel -> its line. Raises CannotCompile."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder, "made.cubin")
        command = ["nvcc", *FLAGS, f"-arch={arch}", str(source), "-o", str(cubin)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise CannotCompile(f"{source.name} for {arch}: {ended.stderr.strip()[-2000:]}")
        usage = res_usage(_cuobjdump("-res-usage", cubin))
        threads = most_threads(_cuobjdump("-elf", cubin))
    lines = {}
    for function in usage:
        needs = resources(usage[function], threads.get(function, ANY_THREADS))
        lines[plain(function)] = line_of(Built(needs), ARCHITECTURES[arch])
    return dict(sorted(lines.items()))


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
    said = subprocess.run(["c++filt", mangled], capture_output=True, text=True, check=True).stdout
    return LOCAL_NAMES.sub("", said.strip()).partition("(")[0]


def _cuobjdump(option: str, cubin: Path) -> str:
    command = [CUOBJDUMP, option, cubin]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
