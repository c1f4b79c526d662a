"""How many bytes each access of a binary to the GPU's memory takes: what hints of alignment buy."""

from __future__ import annotations

import re
from collections import Counter

from .jit import compile_away
from .variants import Variant

# `ld.global.v4.b32`, `st.global.v8.f16`; without a vector it is one element
PLAIN = re.compile(r"\b(?:ld|st)\.global(?:\.[\w:]+)*?(?:\.v(\d+))?\.[bfsu](\d+)\b")
# `cp.async.cg.shared.global [ %r1 + 0 ], [ %rd2 + 0 ], 0x10, %r3;`: to shared memory
COPIED = re.compile(r"\bcp\.async\.\w+\.shared\.global\b[^;]*?\], *(0x[0-9a-f]+|\d+)")


def widths(ptx: str) -> Counter[int]:
    """Bytes of an access by one thread -> how many instructions have it, from PTX of Triton's."""
    found = Counter(int(count or 1) * int(bits) // 8 for count, bits in PLAIN.findall(ptx))
    return found + Counter(int(size, 0) for size in COPIED.findall(ptx))


def widths_of(variant: Variant) -> Counter[int]:
    """Of a binary for an NVIDIA GPU, compiled for this. Raises what the compiler raises."""
    return widths(compile_away(variant).asm["ptx"])
