"""How a kernel rounds: its result, its weights, x; and whether it folds the zero-point in.

Each way of rounding is a hypothesis that predicts results; one that predicts all of them, alone,
is the answer. None or several: unknown.
"""

from __future__ import annotations

from itertools import product

import torch

from gptq_fuzz.fingerprint.probe import MASK, Probe
from gptq_fuzz.problem.philox import random_words
from gptq_fuzz.problem.rounding import BF16, F16, FORMATS, Format, power_of_two, round_to, spacing

UNKNOWN = "unknown"
ROWS = 32  # of one-hot rows that show how weights are rounded
STEPS = (0.25, 0.5, 0.75, 1.25, 1.5, 1.75)  # of the result's last digit, beyond 1
WORKING = 2.0**-22  # relative error of a product that float32 may make on its way
TF32 = Format(torch.float32, 11, -126, float.fromhex("0x1.ffcp127"))
# What 1 + a step becomes, in steps: above zero, and in the mirror below it
RESULTS = {
    "nearest even": ((0, 0, 1, 1, 2, 2), (0, 0, 1, 1, 2, 2)),
    "nearest away": ((0, 1, 1, 1, 2, 2), (0, 1, 1, 1, 2, 2)),
    "nearest toward zero": ((0, 0, 1, 1, 1, 2), (0, 0, 1, 1, 1, 2)),
    "truncated": ((0, 0, 0, 1, 1, 1), (0, 0, 0, 1, 1, 1)),
    "away from zero": ((1, 1, 1, 2, 2, 2), (1, 1, 1, 2, 2, 2)),
    "up": ((1, 1, 1, 2, 2, 2), (0, 0, 0, 1, 1, 1)),
    "down": ((0, 0, 0, 1, 1, 1), (1, 1, 1, 2, 2, 2)),
}


def rounding_of_results(probe: Probe, calls: int) -> str:
    """By sums 1 + c 2^-p of two addends, exact in any wider accumulator."""
    last = 2.0 ** (1 - probe.fmt.digits)
    rows = [probe.row(k0=sign, k1=sign * step * last) for sign, step in product((1.0, -1.0), STEPS)]
    answers = {tuple(probe.column(torch.stack(rows)).tolist()) for _ in range(calls)}
    if len(answers) > 1:
        return "varies"
    steps = [(abs(out) - 1) / last for out in answers.pop()]
    seen = tuple(steps[: len(STEPS)]), tuple(steps[len(STEPS) :])
    return next((name for name, due in RESULTS.items() if due == seen), UNKNOWN)


def folds_zero(probe: Probe) -> str:
    """A weight of 0 = q - z under a mask: nothing, unless x q and x z are summed apart."""
    if not {"zall", "zsym"} & set(probe.exam.backend.limits.zeros):
        return UNKNOWN
    middle = 2 ** (probe.case.bits - 1)
    codes = torch.full((probe.case.k,), middle + 1)
    codes[0] = middle
    probe.load(codes, middle, 1.0)
    low, mask = 2.0**probe.scale.bottom, MASK * 2.0**probe.scale.top
    rows = torch.stack([probe.row(k1=low), probe.row(k0=mask, k1=low)])
    alone, masked = probe.column(rows).tolist()
    if alone != low:
        return UNKNOWN
    return "subtracted" if masked == low else "folded"


def truncate(value: torch.Tensor, fmt: Format) -> torch.Tensor:
    """float64 -> `fmt`, toward zero."""
    step = spacing(value, fmt)
    return (value / step).trunc() * step


def round_away(value: torch.Tensor, fmt: Format) -> torch.Tensor:
    """float64 -> `fmt`, to nearest, ties away from zero."""
    step = spacing(value, fmt)
    return torch.sign(value) * (value.abs() / step + 0.5).floor() * step


ROUNDINGS = {
    "exact": lambda value: value,
    "float16": lambda value: round_to(value, F16),
    "float16 truncated": lambda value: truncate(value, F16),
    "bfloat16": lambda value: round_to(value, BF16),
    "bfloat16 truncated": lambda value: truncate(value, BF16),
    "TF32": lambda value: round_to(value, TF32),
    "TF32 away": lambda value: round_away(value, TF32),
    "TF32 truncated": lambda value: truncate(value, TF32),
}
WEIGHTS = {
    **{name: lambda q, z, s, to=to: to((q - z) * s) for name, to in ROUNDINGS.items()},
    "scales to bfloat16": lambda q, z, s: (q - z) * round_to(s, BF16),
}
for _name, _format in (("float16", F16), ("bfloat16", BF16)):

    def _zero(q, z, s, fmt=_format):
        return q * s - round_to(z * s, fmt)

    def _both(q, z, s, fmt=_format):
        return round_to(q * s, fmt) - round_to(z * s, fmt)

    for _what, _make in (("zero-point", _zero), ("code and zero-point", _both)):

        def _rounded(q, z, s, make=_make, fmt=_format):
            return round_to(make(q, z, s), fmt)

        WEIGHTS[f"scaled {_what} to {_name}"] = _make
        WEIGHTS[f"scaled {_what} to {_name}, then the difference"] = _rounded


AS_MANY_DIGITS = {"float16": "TF32", "float16 truncated": "TF32 truncated"}  # and a wider range


def rounding_of_weights(probe: Probe, results: str, sums: Format | None) -> tuple[str, str]:
    """(weights, x): names of WEIGHTS and ROUNDINGS; `sums` are rounded to before results are."""
    case = probe.case
    codes, zeros, scales = (
        random_words(case.seed, name, rows, case.n, "cpu")[0]
        for name, rows in (("codes", case.k), ("zeros", case.groups), ("scales", case.groups))
    )
    codes, zeros = codes & case.maxq, _allowed_zeros(zeros | 1, probe)
    scales = _mantissas(scales, FORMATS[case.scales_dtype[1:]]) / 32
    probe.load(codes, zeros, scales)
    count = min(ROWS, case.k)
    word = random_words(case.seed, "x", count, 1, "cpu")[0]
    x = _mantissas(word, probe.fmt)
    rows = torch.zeros(count, case.k, dtype=torch.float64)
    rows[torch.arange(count), torch.arange(count)] = x[:, 0]
    group = torch.arange(count) // case.rows_per_group
    parts = codes[:count].double(), zeros[group].double(), scales[group]
    seen = _agreeing(probe.answers(rows), x, parts, _finish(probe.fmt, results, sums))
    if len(seen) == 1:
        weights, of_x = seen.pop()
        if weights in AS_MANY_DIGITS and not _overflows(probe):
            weights = AS_MANY_DIGITS[weights]
        return weights, of_x
    return UNKNOWN, UNKNOWN


def plain_weights(probe: Probe) -> list[tuple[int, int]]:
    """Codes and zero-points that differ by one, of those that the kernel takes; the best first."""
    kinds, middle = set(probe.exam.backend.limits.zeros), 2 ** (probe.case.bits - 1)
    zeros = [0] * bool({"zall", "z0"} & kinds) + [middle] * bool({"zall", "zsym"} & kinds)
    return [(zero + 1, zero) for zero in zeros or [0]]


def _allowed_zeros(raw: torch.Tensor, probe: Probe) -> torch.Tensor:
    if "zall" in probe.exam.backend.limits.zeros:
        return raw & probe.case.maxq
    return torch.full_like(raw, plain_weights(probe)[0][1])


def _mantissas(raw: torch.Tensor, fmt: Format) -> torch.Tensor:
    """[1, 8) with as many digits as the format and 16 bits have, the last one set."""
    digits = min(fmt.digits, 16)
    odd = (raw & (2 ** (digits - 1) - 1)) | 1
    return (1 + odd / 2 ** (digits - 1)) * power_of_two((raw >> 20) % 3)


def _agreeing(out, x, parts, finish) -> set[tuple[str, str]]:
    """The hypotheses that predict each result, give or take what float32 does on the way."""
    q, z, s = parts
    slack = WORKING * (x * s * (q + z)).abs()
    found, seen = set(), set()
    for (weights, make), (of_x, to) in product(WEIGHTS.items(), ROUNDINGS.items()):
        value = to(x) * make(q, z, s)
        low, high = finish(value - slack), finish(value + slack)
        if not ((out >= low) & (out <= high)).all():
            continue
        predicted = tuple(finish(value).flatten().tolist())
        if predicted not in seen:  # two names of the same numbers: the plainer one
            found.add((weights, of_x))
        seen.add(predicted)
    return found


def _finish(fmt: Format, results: str, sums: Format | None):
    ways = {"nearest even": round_to, "truncated": truncate, "nearest away": round_away}
    last = ways.get(results, round_to)
    return lambda value: last(value if sums is None else round_to(value, sums), fmt)


def _overflows(probe: Probe) -> bool:
    """Whether a weight above float16's range becomes infinite: TF32 holds it."""
    largest = 2.0**15
    probe.load(3, 0, largest)
    return not torch.isfinite(probe.column(probe.row(k0=2.0**-10).unsqueeze(0))).item()
