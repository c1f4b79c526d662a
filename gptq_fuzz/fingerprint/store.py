"""Fingerprints as they are kept: which are taken of a kernel, the file, and what has changed."""

from __future__ import annotations

import json
import math
from pathlib import Path

from filelock import FileLock

from gptq_fuzz.case.atomic import write_atomically
from gptq_fuzz.case.axes import WHOLE_GROUP, codes_in_words
from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case

DEFAULT_FILE = ".gptq-fuzz/fingerprints.json"
OURS = Path(__file__).with_name("built_in.json")  # of the kernels that come with the package
# On any CPU the same; the order of sums depends on its instructions
ON_ANY_CPU = ("accumulator", "zero-point", "weights", "x", "result")
ROWS = (64, 1)  # prefill and decoding: engines have a path for each
COLUMNS = 32
LENGTH = 480  # of the sums: divisible by 2 to 6, and no power of two
BITS = 4
UNSETTLED = "unknown"
LOCK_LIMIT = 60.0  # seconds: another process writes the file within one
VERSIONS = "versions"


def default_cases(limits: Limits, interpreted: bool) -> list[Case]:
    """The shapes at which a kernel is looked at: dtypes, row counts, then its launch configs."""
    shapes = [
        _shape(limits, m, dtype)
        # One row at a time takes Triton's interpreter minutes.
        for m in ROWS[: 1 if interpreted else None]
        for dtype in limits.dtypes
    ]
    forced = {token.name: token.values[0] for token in limits.tokens if not token.optional}

    def with_tokens(case: Case, chosen: dict[str, str]) -> Case:
        named = forced | chosen
        return case.replace(
            extra=tuple((t.name, named[t.name]) for t in limits.tokens if t.name in named)
        )

    cases = [with_tokens(shape, {}) for shape in shapes]
    cases += [
        with_tokens(shapes[0], {token.name: value})
        for token in limits.tokens
        for value in token.values
    ]
    return list(dict.fromkeys(cases))


def quick_cases(kernel: str, about: dict, limits: Limits) -> list[Case]:
    """Stored cases of a built-in kernel that take seconds: one row takes longer, Triton's
    interpreter a minute.
    """
    if about["triton"] and about["interpreted"]:
        return []
    stored = FingerprintFile(OURS).lines(kernel, machine_of(about))
    cases = [Case.parse(line, limits.tokens) for line in stored]
    return [case for case in cases if case.m > 1]


def _shape(limits: Limits, m: int, dtype: str) -> Case:
    bits = BITS if BITS in limits.bits else limits.bits[0]
    word = codes_in_words(bits)
    k = _whole(LENGTH, math.lcm(word, limits.k_multiple))
    sizes = limits.group_sizes
    fields = {
        "m": m,
        "n": _whole(COLUMNS, math.lcm(word, limits.n_multiple)),
        "k": k,
        "bits": bits,
        "group_size": WHOLE_GROUP if sizes is None or WHOLE_GROUP in sizes else max(sizes),
        "checkpoint_format": limits.formats[0],
        "dtype": dtype,
        "scales_dtype": limits.scales_dtypes[0],
        "g_idx": "seq" if "seq" in limits.g_idx else limits.g_idx[0],
    }
    return Case(**limits.fitted(fields))


def _whole(size: int, unit: int) -> int:
    return -(-size // unit) * unit


class Unreadable(ValueError):
    """The file holds something else than fingerprints, and is left alone."""


class Changed(AssertionError):
    """A kernel computes otherwise than it declares, or than it did before."""


class FingerprintFile:
    """{kernel: {machine: {line: fingerprint}}} as JSON; several processes may write to it."""

    def __init__(self, path: Path):
        self.path = path
        self.read()

    def read(self) -> dict:
        """All that is stored. Raises Unreadable."""
        if not self.path.exists():
            return {}
        try:
            found = json.loads(self.path.read_text())
            is_ours = all(
                isinstance(lines, dict) for stored in found.values() for lines in stored.values()
            )
        except (ValueError, AttributeError) as problem:
            raise Unreadable(f"--fingerprint={self.path}: no file of fingerprints") from problem
        if not is_ours:
            raise Unreadable(f"--fingerprint={self.path}: no file of fingerprints")
        return found

    def lines(self, kernel: str, machine: str) -> dict[str, dict]:
        """Line -> what is stored for this machine; for a new CPU, what another has in common."""
        stored = self.read().get(kernel, {})
        if machine in stored or not machine.startswith("CPU"):
            return stored.get(machine, {})
        way = machine.partition(",")[2]
        others = [m for m in sorted(stored) if m.startswith("CPU") and m.partition(",")[2] == way]
        return {
            line: {field: found[field] for field in ON_ANY_CPU}
            for other in others[:1]
            for line, found in stored[other].items()
        }

    def settle(self, kernel: str, machine: str, line: str, found: dict) -> list[str]:
        """Store what is new; the differences from what was stored before, if any.

        Raises TimeoutError where another process keeps the lock.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=LOCK_LIMIT):
            whole = self.read()
            lines = whole.setdefault(kernel, {}).setdefault(machine, {})
            stored = lines.setdefault(line, {})
            differences = changes(stored, found)
            if not differences:
                settled = {key: value for key, value in found.items() if value != UNSETTLED}
                lines[line] = found | stored | settled
                write_atomically(self.path, json.dumps(whole, indent=1, sort_keys=True) + "\n")
        return differences


def changes(stored: dict, found: dict) -> list[str]:
    """`blocks: 64 -> 32` for each field that was settled then and is settled now, otherwise."""
    return [
        f"{field}: {stored[field]} -> {value}"
        for field, value in found.items()
        if field != VERSIONS
        and UNSETTLED not in (value, stored.get(field, UNSETTLED))
        and stored[field] != value
    ]


def machine_of(about: dict) -> str:
    """`NVIDIA H200 sm_90`, `CPU AVX512, interpreted`"""
    way = ", interpreted" if about["triton"] and about["interpreted"] else ""
    return f"{about['device']} {about['capability']}{way}"


def versions_of(about: dict) -> str:
    """`torch 2.13.0, triton 3.7.1`"""
    return ", ".join(f"{name} {about[name]}" for name in ("torch", "triton") if about[name])


def compare(
    file: FingerprintFile, kernel: str, about: dict, case: Case, taken: dict, stores: bool = True
) -> list[str]:
    """What is wrong with a fingerprint that was taken: no answer, contradictions, changes.

    Where nothing is wrong it is stored, if `stores`.
    """
    line = str(case)
    if "problem" in taken:
        return [f"no fingerprint of {kernel} at {line}: {taken['problem']}"]
    problems = [
        f"Numerics of {kernel} contradicted at {line}\n  {text}" for text in taken["contradictions"]
    ]
    machine = machine_of(about)
    stored = file.lines(kernel, machine).get(line, {})
    found = taken["found"] | {VERSIONS: versions_of(about)}
    before = stored.get(VERSIONS, found[VERSIONS])
    differences = changes(stored, found)
    if stores and not differences:
        differences = file.settle(kernel, machine, line, found)
    if differences:
        problems.append(
            "\n  ".join(
                [f"fingerprint of {kernel} changed at {line} on {machine}", *differences]
                + [f"stored by {before}, now {found[VERSIONS]}"] * (before != found[VERSIONS])
                + [f"to accept it, remove that line from {file.path} and run again"]
            )
        )
    return problems
