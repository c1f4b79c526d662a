"""How a kernel computes, found out from outside, and whether that is what its Backend declares.

What the probes do not settle is "unknown"; nothing is concluded from it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch

from gptq_fuzz.case.axes import WHOLE_GROUP
from gptq_fuzz.case.backend import Backend, Numerics
from gptq_fuzz.case.case import Case
from gptq_fuzz.fingerprint.probe import MASK, Probe, Undetermined
from gptq_fuzz.fingerprint.rounding_probe import (
    UNKNOWN,
    folds_zero,
    plain_weights,
    rounding_of_results,
    rounding_of_weights,
)
from gptq_fuzz.fingerprint.summation import LANES, Summation, observe
from gptq_fuzz.oracle.examination import Examination, TimeIsUp, WrongType
from gptq_fuzz.oracle.messages import describe
from gptq_fuzz.problem.rounding import FORMATS, Format

FIELDS = (
    "accumulator",  # the format in which products are added
    "blocks",  # lengths along K whose sums are formed apart
    "split-K",  # parts of K whose sums are formed apart, however long K is
    "partial sums",  # the format in which those sums are joined
    "between blocks",  # the format of the sum that they are joined to
    "zero-point",  # subtracted from the code, or folded in after the sum
    "weights",  # what (q - z) s is rounded to before it is multiplied
    "x",  # what x is rounded to
    "result",  # how the sum is rounded to the result
    "columns",  # whether all columns of a result add up in one order
)
NAMES = {8: "bfloat16", 11: "float16", 24: "float32", 53: "float64"}
LIKE_FLOAT32 = range(22, 28)  # tensor cores keep a few bits less or more inside a block
WIDER = "wider than float32"
NONE = "none"
VARY = "vary from call to call"
OTHER_GROUP = 48  # divides no block that anybody uses
SHORT = {"float16": "f16", "bfloat16": "bf16", "float32": "f32"}


def measured_fields(examine: Callable[[Case], Examination], case: Case) -> dict[str, str]:
    """FIELDS -> words, for the shape, dtypes and tokens of `case`."""
    exam = examine(case)
    found = dict.fromkeys(FIELDS, UNKNOWN)
    calls = 1 if exam.backend.deterministic else 2
    probe = Probe(exam)
    right = (weight for weight in plain_weights(probe) if _adds_ones(probe, weight))
    weight = next(right, None)
    if weight is None:
        return found
    found["result"] = rounding_of_results(probe, calls)
    probe.choose_rows()
    found |= _sums(probe, weight, calls, examine)
    found["columns"] = "differ" if probe.columns_differ else "alike"
    found["zero-point"] = UNKNOWN if found["accumulator"] == WIDER else folds_zero(probe)
    found["weights"], found["x"] = rounding_of_weights(
        probe, found["result"], _narrowest(found, probe)
    )
    return found


def _narrowest(found: dict[str, str], probe: Probe) -> Format | None:
    """The format of accumulator or partial sums, where the result has more digits."""
    names = {SHORT.get(found[name]) for name in ("accumulator", "partial sums", "between blocks")}
    formats = [FORMATS[name] for name in names if name]
    narrower = [fmt for fmt in formats if fmt.digits < probe.fmt.digits]
    return min(narrower, key=lambda fmt: fmt.digits, default=None)


def _adds_ones(probe: Probe, weight: tuple[int, int]) -> bool:
    """Whether the kernel is right where nothing can be rounded: else its answers mean nothing."""
    probe.load(*weight, 1.0)
    low = 2.0**probe.scale.bottom
    row = probe.row(**{f"k{k}": low for k in range(min(probe.case.k, probe.scale.row))})
    mask = MASK * 2.0**probe.scale.top
    rows = torch.stack([row, probe.row(k0=mask)])
    due = rows.sum(1, keepdim=True)
    return torch.equal(probe.answers(rows), due.expand(-1, probe.case.n))


def _sums(probe: Probe, weight: tuple[int, int], calls: int, examine) -> dict[str, str]:
    try:
        first = observe(probe, calls)
        if first.is_wide:
            return {"accumulator": WIDER}
        if first.varies:
            return {"accumulator": _width(first.inner, probe), "blocks": VARY}
        longer, grouped = (
            _elsewhere(other, probe, weight, calls, examine, first) for other in _others(probe)
        )
    except Undetermined:
        return {}
    blocks, parts = _blocks_and_parts(first, longer, grouped, probe)
    seen = {"accumulator": _width(first.inner, probe), "blocks": blocks, "split-K": parts}
    if first.levels:
        seen["partial sums"] = _width(first.partial, probe)
        seen["between blocks"] = _width(first.outer, probe)
    elif blocks == NONE and parts == NONE:
        seen |= {"partial sums": NONE, "between blocks": NONE}
    return seen


def _others(probe: Probe) -> list[Case | None]:
    """The same kernel on twice the K, and on groups of a length that no block has."""
    case, limits = probe.case, probe.exam.backend.limits
    sizes = limits.group_sizes or (OTHER_GROUP,)
    smaller = [size for size in sizes if size != WHOLE_GROUP and size <= case.k // 3]
    has_one_group = case.rows_per_group >= case.k
    grouped = case.replace(group_size=smaller[0]) if smaller and has_one_group else None
    return [case.replace(k=2 * case.k), grouped]


def _elsewhere(
    case: Case | None, probe: Probe, weight, calls: int, examine, first: Summation
) -> Summation | None:
    if case is None:
        return None
    other = Probe(examine(case))
    other.rows = probe.rows
    other.load(*weight, 1.0)
    return observe(other, calls, first.levels)


def _blocks_and_parts(first: Summation, longer: Summation, grouped: Summation | None, probe: Probe):
    """Words for blocks and split-K: lengths that stay when K doubles, numbers that stay."""
    if not first.is_plain and not first.levels:
        return UNKNOWN, UNKNOWN
    stay = first.lengths & longer.lengths
    gone, new = first.lengths - stay, longer.lengths - stay
    new -= {2 * max(stay, default=0)}  # the next size where blocks are joined in pairs
    parts = {math.ceil(first.k / length) for length in gone}
    dealt = first.dealt
    if dealt != longer.dealt or parts != {math.ceil(longer.k / length) for length in new}:
        return UNKNOWN, UNKNOWN
    if dealt and dealt.length >= LANES:
        parts |= {dealt.parts}
        stay |= {dealt.length}
    words = _in_words(sorted(stay), first)
    per_group = _per_group(first, grouped)
    if per_group is None:
        return UNKNOWN, UNKNOWN
    words += per_group
    if dealt and dealt.length < LANES:
        words.append(f"{dealt.parts} interleaved")
    return ", ".join(words) or NONE, " of ".join(map(str, sorted(parts))) or NONE


def _in_words(lengths: list[int], first: Summation) -> list[str]:
    doubles = all(2 * a == b for a, b in itertools.pairwise(lengths))
    if len(lengths) > 2 and doubles and lengths[-1] * 4 > first.k:
        return [f"{lengths[0]} joined in pairs"]
    return [str(length) for length in lengths]


def _per_group(first: Summation, grouped: Summation | None) -> list[str] | None:
    """["one a group"] where sums are formed apart for each group; None where it is not clear."""
    if grouped is None:
        return []
    more = grouped.lengths - first.lengths
    size = grouped.group_size
    if more == {size}:
        return ["one a group"]
    is_same = not more and grouped.is_plain_afar == first.is_plain_afar
    return [] if is_same else None


def _width(digits: int | None, probe: Probe) -> str:
    if digits is None:
        return UNKNOWN
    if digits > probe.scale.ratios[-1]:
        return WIDER
    if digits in LIKE_FLOAT32 and digits not in NAMES:
        return f"float32 ({digits} digits)"
    return NAMES.get(digits, f"{digits} digits")


def contradictions(found: dict[str, str], backend: Backend, dtype: str) -> list[str]:
    """What the probes found that the Backend's Numerics, or its promise, rules out."""
    numerics = backend.numerics
    checks = (
        _widths_clash(found, numerics),
        _weights_clash(found, numerics, dtype),
        _zero_clash(found, numerics),
        _promise_clash(found),
    )
    return [text for texts in checks for text in texts]


def _widths_clash(found: dict[str, str], numerics: Numerics):
    inner, partial, outer = (
        SHORT.get(found[name].split(" (")[0])
        for name in ("accumulator", "partial sums", "between blocks")
    )
    if inner and inner != numerics.accumulator:
        yield f"accumulator: {numerics.accumulator!r} is declared, {found['accumulator']} was found"
    digits = found["accumulator"].removesuffix(" digits")
    if digits.isdigit() and int(digits) <= (numerics.aligned_bits or LIKE_FLOAT32[0] - 1):
        yield f"aligned_bits: {numerics.aligned_bits} is declared, {digits} digits were found"
    # A narrow accumulator makes every partial sum look as narrow.
    is_limited = partial == inner != "f32" and numerics.partial != partial
    if partial and partial != numerics.partial and not is_limited:
        yield f"partial: {numerics.partial!r} is declared, {found['partial sums']} was found"
    if outer and outer not in (numerics.accumulator, numerics.partial, inner):
        yield (
            f"accumulator: {numerics.accumulator!r} is declared, {found['between blocks']} was "
            "found between blocks"
        )


def _weights_clash(found: dict[str, str], numerics: Numerics, dtype: str):
    allowed = {dtype if name == "x" else name for name in numerics.weights}
    weights = found["weights"]
    if weights == UNKNOWN:
        return
    is_scaled = weights.startswith("scaled")
    if is_scaled != numerics.scaled_zero:
        yield f"scaled_zero: {numerics.scaled_zero} is declared, weights were found {weights}"
    is_tf32 = "TF32" in weights + found["x"]
    if is_tf32 and not numerics.tf32:
        yield f"tf32: False is declared, {weights} weights and {found['x']} x were found"
    rounded = SHORT.get(weights, weights)
    is_fine = rounded in allowed or weights == "exact"  # which is better than declared
    if not (is_scaled or is_tf32 or is_fine):
        yield f"weights: {numerics.weights} are declared, {weights} was found"


def _zero_clash(found: dict[str, str], numerics: Numerics):
    if found["zero-point"] == "folded" and not numerics.folds_zero:
        yield "folds_zero: False is declared, the zero-point was found folded"


def _promise_clash(found: dict[str, str]):
    if found["result"] not in ("nearest even", UNKNOWN):
        yield f"result: rounding to nearest even is promised, {found['result']} was found"
    if found["x"] not in ("exact", UNKNOWN) and "TF32" not in found["x"]:
        yield f"x: it is used as it is, {found['x']} was found"


def take_fingerprint(examine: Callable[[Case], Examination], case: Case) -> dict:
    """`found` and `contradictions`; `problem` where the kernel gave no answer at all, or `is_late`
    where the time of the examinations ended before.
    """
    try:
        found = measured_fields(examine, case)
    except TimeIsUp:
        return {"is_late": True}
    except (WrongType, torch.OutOfMemoryError) as problem:
        return {"problem": str(problem)}
    except Exception as problem:  # noqa: BLE001 - a kernel may raise anything
        return {"problem": describe(problem)}
    backend = examine(case).backend
    return {"found": found, "contradictions": contradictions(found, backend, case.dtype)}
