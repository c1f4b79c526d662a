"""What an architecture offers a block of threads, and what of a binary is more than that.

NVIDIA: the table of technical specifications by compute capability in the CUDA C++ Programming
Guide; 512 columns of tensor memory are in the PTX manual. gfx942: the ISA guide of CDNA 3. A
compute unit there has four SIMDs, each with 512 vector registers for 64 lanes, half of them of the
accumulation kind.
"""

from __future__ import annotations

from typing import NamedTuple

from triton.backends.compiler import GPUTarget

from .resources import Resources

KIB = 1024
REGISTER_UNIT = 8  # registers are given to a thread in eights


class Architecture(NamedTuple):
    """A target of the compiler and its limits; a block is AMD's work-group."""

    target: GPUTarget
    shared: int  # bytes that a block can have, by opting in where that is needed
    registers: int = 255  # of a thread
    registers_of_block: int = 65536
    threads: int = 1024  # of a block
    tensor_memory: int = 0  # columns

    def lacks(self, needed: Resources) -> list[str]:
        """Why a binary that needs this cannot run here; nothing for one that can."""
        given = -(-needed.registers // REGISTER_UNIT) * REGISTER_UNIT
        demands = {
            "threads": (needed.threads, self.threads),
            "registers": (needed.registers, self.registers),
            "registers of the block": (given * needed.threads, self.registers_of_block),
            "bytes of shared memory": (needed.shared, self.shared),
            "columns of tensor memory": (needed.tensor_memory, self.tensor_memory),
        }
        return [
            f"needs {wanted} {what}, there are {there}"
            for what, (wanted, there) in demands.items()
            if wanted > there
        ]


def _nvidia(capability: int, shared_kib: int, **limits) -> Architecture:
    return Architecture(GPUTarget("cuda", capability, 32), shared_kib * KIB, **limits)


ARCHITECTURES = {
    "sm_80": _nvidia(80, 163),
    "sm_86": _nvidia(86, 99),
    "sm_89": _nvidia(89, 99),
    "sm_90": _nvidia(90, 227),
    "sm_100": _nvidia(100, 227, tensor_memory=512),
    "sm_120": _nvidia(120, 99),
    "gfx942": Architecture(
        GPUTarget("hip", "gfx942", 64), 64 * KIB, registers=512, registers_of_block=4 * 512 * 64
    ),
}
