"""What a binary needs of a GPU, read from the compiler's own account of it."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import triton.backends.nvidia

CUOBJDUMP = Path(triton.backends.nvidia.__file__).parent / "bin" / "cuobjdump"


class Resources(NamedTuple):
    """The needs of one kernel; registers are of 32 bits."""

    threads: int  # of a block
    registers: int  # vector registers of a thread, AMD's accumulation registers among them
    shared: int  # bytes of a block
    stack: int = 0  # bytes of a thread in local memory (AMD: scratch), where spilled registers go
    tensor_memory: int = 0  # columns of a block
    scalar_registers: int = 0  # of a wave; AMD only, like those below
    spilled_vectors: int = 0  # registers of a thread, to scratch
    spilled_scalars: int = 0  # registers of a wave, to lanes of vector registers

    @property
    def spilled(self) -> tuple[int, int, int]:
        """All that is not kept in the registers that it belongs in."""
        return self.stack, self.spilled_vectors, self.spilled_scalars


class Built(NamedTuple):
    """What a binary needs, or why there is none."""

    resources: Resources | None
    failure: str = ""


def of_cubin(cubin: bytes, function: str, **known: int) -> Resources:
    """Of `function` in a cubin of NVIDIA's; `known` is what only its compiler or launcher knows."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [CUOBJDUMP, "-res-usage", file.name]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    usage = res_usage(report)
    return Resources(registers=usage[function]["REG"], stack=usage[function]["STACK"], **known)


def res_usage(report: str) -> dict[str, dict[str, int]]:
    """Function -> its counts, from what `cuobjdump -res-usage` prints.

    SHARED there is what the function declares and the system keeps, not what a launch adds.
    """
    functions = re.findall(r"^ *Function ([^\s:]+):\n(.*)$", report, re.MULTILINE)
    return {
        name: {unit: int(count) for unit, count in re.findall(r"([A-Z]+):(\d+)", counts)}
        for name, counts in functions
    }


def of_amdgcn(assembly: str, **known: int) -> Resources:
    """Of the only kernel in an assembly text of LLVM's AMDGPU backend, from its metadata."""
    metadata = assembly.partition("amdhsa.kernels:")[2]
    count = {
        key: int(n) for key, n in re.findall(r"^ [ -]+\.(\w+): +(\d+)$", metadata, re.MULTILINE)
    }
    return Resources(
        registers=count["vgpr_count"],
        stack=count["private_segment_fixed_size"],
        scalar_registers=count["sgpr_count"],
        spilled_vectors=count["vgpr_spill_count"],
        spilled_scalars=count["sgpr_spill_count"],
        **known,
    )
