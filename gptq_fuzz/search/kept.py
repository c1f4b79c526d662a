"""Small problems of a kernel that are asked again and again, to see whether it keeps memory."""

from __future__ import annotations

from collections.abc import Iterator

from gptq_fuzz.case.axes import codes_in_words
from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.search.claims import must_pass_shrunk
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.sweep import rotated
from gptq_fuzz.search.usual import GROUP, takes_groups

ROWS = (1, 5)
LONG = 1024  # K
CHECK = "memory"


def kept_cases(limits: Limits) -> list[Case]:
    """One row and a few, of each number of bits; two units of N and K. Then one of a long K."""
    return list(dict.fromkeys(_cases(limits)))


def _cases(limits: Limits) -> Iterator[Case]:
    for bits in limits.bits:
        _, n, k = limits.units(codes_in_words(bits))
        sizes = {"bits": bits, "n": 2 * n, "k": 2 * k}
        size = k if limits.group_sizes is None else limits.group_sizes[0]
        for m in ROWS if limits.laid_out[0] != 1 else ROWS[:1]:
            yield _plain(limits, f"{bits} {m}", m=m, group_size=size, **sizes)
    if "act" in limits.g_idx:
        yield _long(limits)


def _long(limits: Limits) -> Case:
    """Of many rows in any order, of which more is kept than of a few; each layer has its own."""
    bits = limits.bits[0]
    _, n, k = limits.units(codes_in_words(bits))
    sizes = {"m": ROWS[0], "n": n, "k": -(-LONG // k) * k}
    size = GROUP if takes_groups(limits, GROUP) else limits.group_sizes[0]
    return _plain(limits, "long", bits=bits, group_size=size, g_idx="act", **sizes)


def _plain(limits: Limits, key: str, **fields) -> Case:
    """A case of the first dtypes, whose other axes have values that `key` chooses."""
    case = rotated(limits, f"{CHECK} {key}", **fields)
    dtypes = {"dtype": limits.dtypes[0], "scales_dtype": limits.scales_dtypes[0]}
    return Case(**limits.fitted(vars(case) | dtypes))


def must_keep_nothing(kernel: KernelUnderTest) -> None:
    """Judge them; one alone of a kernel that is slow to ask. Raises Failure."""
    listed = kept_cases(kernel.limits)
    for case in listed[:1] if kernel.is_slow else listed:
        must_pass_shrunk(kernel, case, (CHECK,))
