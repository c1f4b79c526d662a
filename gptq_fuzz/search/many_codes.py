"""Layers whose codes fill more than 2^26 words: 32 bits with a sign do not hold the address of a
bit in them. Results of more than 2^29 elements: nor that of a byte of them in float32.

On a host the least of them takes some 5 GiB and the kernel's own; one at a time, and at night.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

from gptq_fuzz.case.axes import codes_in_words
from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.series import must_pass_series
from gptq_fuzz.search.sweep import group_size, has_rows, rotated

SERIES = "many codes"
SECONDS = 300.0
WORDS_OF_K, COLUMNS = 2**12, 2**14 + 2**8  # 2^20 words more than 2^26
ROWS = (1, 33)
RESULTS = (2**14 + 4, 2**15 + 4)  # rows and columns, beside one word of K
WORD_BITS = 32
LOCK = Path(tempfile.gettempdir()) / "gptq-fuzz-many-codes.lock"
PATIENCE = 2 * SECONDS  # until another process has judged its own


def many_code_cases(limits: Limits, seed: int = 0) -> list[Case]:
    """Of each number of bits, those that take the least memory first."""
    found = []
    for m in ROWS if has_rows(limits) else ROWS[:1]:
        for turn, bits in enumerate(sorted(limits.bits, reverse=True)):
            _, unit_n, unit_k = limits.units(codes_in_words(bits))
            k = WORDS_OF_K * WORD_BITS // bits
            sizes = {"m": m, "n": -(-COLUMNS // unit_n) * unit_n, "k": -(-k // unit_k) * unit_k}
            key = f"{SERIES} {m} {bits}"
            sizes |= {"bits": bits, "group_size": group_size(limits, key)}
            told = {"zeros": limits.zeros[0], "g_idx": limits.g_idx[0]}
            if turn % 2 and "act" in limits.g_idx:
                told["g_idx"] = "act"
            found.append(rotated(limits, key, seed, **sizes | told))
    if has_rows(limits):
        bits = max(limits.bits)
        _, unit_n, k = limits.units(codes_in_words(bits))
        m, n = RESULTS[0], -(-RESULTS[1] // unit_n) * unit_n
        sizes = {"m": m, "n": n, "k": k, "bits": bits, "group_size": group_size(limits, SERIES)}
        found.append(rotated(limits, f"{SERIES} results", seed, **sizes))
    return [case for case in found if not limits.violations(case)]


def must_pass_many_codes(kernel: KernelUnderTest, seed: int) -> None:
    """Judge them, of a kernel that is not slow. Raises Failure."""
    with contextlib.ExitStack() as held:
        reason = "no time" * kernel.is_slow or _waited_for(held)
        must_pass_series(
            kernel,
            SERIES,
            many_code_cases(kernel.limits, seed),
            SECONDS,
            seed,
            excuse=lambda case: reason,
            dearest=1.0,
        )


def _waited_for(held: contextlib.ExitStack) -> str:
    """Enter the lock; why that was not possible, or ""."""
    try:
        held.enter_context(FileLock(LOCK, timeout=PATIENCE))
    except Timeout:
        return "another process that judges such"
    return ""
