"""From a Case to its numbers: codes, zero-points, scales, x, bias and g_idx.

Each fill serves one oracle (see judge.py). All arithmetic is exact, or rounds once by
`round_to`, so a line gives the same bytes everywhere. Every value comes from (seed, tensor, row,
column): a smaller problem keeps most of what remains, which lets shrinking converge.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch

from gptq_fuzz.case.axes import (
    EVERY_NAN,
    FORMS_OF_BANDS,
    FRACTIONS,
    HEAVY,
    KINDS_OF_COLUMNS,
    LAP,
    LAP_TURNED,
    LOW,
    OF_ONE_ELEMENT,
    PLACES_OF_BANDS,
    SHARED,
    VARIED,
    bands_of,
)
from gptq_fuzz.case.case import SHARD_STARTS, Case
from gptq_fuzz.problem.cancel import cancelling, equal_weights
from gptq_fuzz.problem.layouts import rows_stored, windows_of
from gptq_fuzz.problem.philox import first_words, random_words
from gptq_fuzz.problem.rounding import F16, FORMATS, power_of_two, round_to

EXACT_BUDGET = 2**24 - 1  # steps that a float32 accumulator counts without rounding
SPREAD = 3  # exact: scales of a column differ by up to 2^3
EXACT_UNIT = -9  # exact: 2^24 steps of 2^-9 stay below float16's 65504
LARGE = 2**20  # weights of a layer whose codes are not made again for each call
_LAST: dict[tuple, torch.Tensor] = {}  # of one such layer
ACCUMULATOR_STEPS = {"f16": 2**11, "bf16": 2**8, "f32": 2**11}  # sparse: nothing rounds in float16
TILES = (16, 32, 64, 128)  # wide: elements of x that are zero together
PAIRS = tuple(itertools.combinations(range(4), 2))  # zfour: rows that stay
# pruned: exponents of x there; elsewhere of the last digit of x, and of what scales are larger by
LARGEST_OF_PRUNED, SMALL_BESIDE_PRUNED, SCALES_BESIDE_PRUNED = 15, -14, 6
# coarse: columns of a block of scales, elements of a block of x
WIDTHS, FULL = (128, 64, 32, 16, 2), 64
MASKED_COLUMNS = 64  # masked: those in which a group has scales of 0
# ties: times 195, 15, 3, 7, 63, 21 and 117 it is 4095, with 2^4 it is 65520; of 1 bit none is
BOUNDARY = {8: 21, 4: 273, 2: 1365, 3: 585, 6: 65, 5: 195, 7: 35, 1: 2047}

# Operand -> the field of Values that it holds
FIELDS = {"qweight": "codes", "qzeros": "zeros"} | {n: n for n in ("scales", "g_idx", "bias")}


@dataclass
class Values:
    """codes [K, N], zeros [G, N], g_idx [K]: int64. scales [G, N], left [M, R], bias [N]: float64.

    `fractions` [G, N] float64, if there are any, are added to `zeros`: see `zero_points`.
    `left` is x, or the gradient with respect to the output in a `bwd` case; R is the reduction.
    Every float is a value of the dtype that it will be stored in.
    """

    codes: torch.Tensor
    zeros: torch.Tensor
    g_idx: torch.Tensor
    scales: torch.Tensor
    left: torch.Tensor
    bias: torch.Tensor | None
    fractions: torch.Tensor | None = None

    @property
    def zero_points(self) -> torch.Tensor:
        """[G, N]: what is subtracted from codes."""
        return self.zeros if self.fractions is None else self.zeros + self.fractions


def make_values(case: Case, device) -> Values:
    """The numbers of a Case on `device`, the same bits on each."""
    scales, left = _FILLS[case.fill](case, device)
    if case.fill in ("exact", "sparse", "randn") and case.seed % 3 == 2:
        scales = scales.clone()
        scales[case.seed % case.groups, case.seed % case.n] = 0.0  # a column of weights may vanish
    scales = round_to(_alike(case, scales), FORMATS[case.scales_dtype[1:]])
    left = round_to(left, FORMATS[case.dtype])
    if case.layout in SHARED and case.m:
        stored = rows_stored(case)
        left = left[:stored].repeat(case.m // stored, 1)
    if case.layout_kind == LAP:
        left = windows_of(left, case.layout_amount)
    if case.layout_kind == LAP_TURNED:
        left = windows_of(left.T, case.layout_amount).T
    if case.layout in OF_ONE_ELEMENT:
        left = left[:, :1].repeat(1, case.reduction)
    zeros, g_idx = _zeros(case, device), _g_idx(case, device)
    codes = _codes_of(case, zeros, g_idx, device)
    if case.fill == "cancel":
        codes, zeros = equal_weights(case, zeros)
    if case.fill == VARIED and not case.backward:
        codes, zeros = _alike_in_halves(case, codes, zeros, device)
    return Values(
        codes=codes,
        zeros=zeros,
        g_idx=g_idx,
        scales=scales,
        left=left,
        bias=_bias(case, device) if case.bias else None,
        fractions=_fractions(case, zeros, device) if case.zeros == FRACTIONS else None,
    )


def _alike(case: Case, of_groups: torch.Tensor) -> torch.Tensor:
    """[G, N]: those of the first group in all of them, or of its first column in the layer, where
    zero-points and scales are alike; or in the columns of a layer that come first.
    """
    if case.zeros == "zhead":
        of_groups = of_groups.expand(case.groups, case.n).clone()
        of_groups[:, : _head(case)] = of_groups[:1, :1]
    chosen = {"zcol": of_groups[:1], "zlay": of_groups[:1, :1]}.get(case.zeros)
    return of_groups if chosen is None else chosen.expand(of_groups.shape).clone()


def _head(case: Case) -> int:
    """Columns of the first word of zero-points, or half of them where there is no other."""
    return case.unit if case.n > case.unit else case.unit // 2


def _codes_of(case: Case, zeros: torch.Tensor, g_idx: torch.Tensor, device) -> torch.Tensor:
    """Those of a large layer are kept for the next call of it, which is another case. The same
    tensor then: nobody writes into it.
    """
    if case.k * case.n < LARGE or case.fill == "wide":
        return _codes(case, zeros, g_idx, device)
    layer = case.k, case.n, case.bits, case.group_size, case.g_idx, case.zeros, case.seed, device
    if layer not in _LAST:
        _LAST.clear()
        _LAST[layer] = _codes(case, zeros, g_idx, device)
    return _LAST[layer]


def _codes(case: Case, zeros: torch.Tensor, g_idx: torch.Tensor, device) -> torch.Tensor:
    codes = first_words(case.seed, "codes", case.k, case.n, device)
    codes &= case.maxq
    # Extremes in the first two rows, so that the smallest problems have them whatever the seed.
    checkerboard = torch.arange(case.n, device=device) % 2 * case.maxq
    codes[0] = case.maxq - checkerboard
    codes[1] = checkerboard
    # Whole words of no and of all bits, from the second word of two columns on.
    codes[case.unit :, 5:6] = 0
    codes[case.unit :, 6:7] = case.maxq
    if case.zeros == "zeq":
        codes = _equal_codes(case, codes, zeros[g_idx], device)
    if case.zeros in ("ztern", "zfew") and case.bits > 1:
        codes = _few_codes(case, codes)
    if case.zeros == "zfour":
        codes = _two_of_four(case, codes, device)
    if case.zeros == "znear" and case.bits > 1:
        codes = zeros[g_idx] + _near(case, codes)
    if case.zeros == "zdead":
        codes = torch.where(_dead(case, device)[g_idx], zeros[g_idx], codes)
    if case.fill == "wide":
        # Beside the outliers of x every second weight is 0: what is small in a row decides there.
        second = torch.arange(case.columns, device=device) % 2 == 1
        vanish = _is_outlier(case, device).unsqueeze(1) & second
        codes = torch.where(vanish.T if case.backward else vanish, zeros[g_idx], codes)
    return codes


def _dead(case: Case, device) -> torch.Tensor:
    """[G, N]: where all weights are 0, as of channels that are pruned: by the seed a quarter of the
    columns, half of the words of columns, half of the groups; never all, one at least.
    """
    form, sure = case.seed % 3, case.seed // 3
    if form == 2 and case.groups > 1:
        raw = random_words(case.seed, "zeros", case.groups, 1, device)[1] >> 16
        dead = raw % 2 == 0
        dead[sure % case.groups], dead[(sure + 1) % case.groups] = True, False
        return dead.expand(case.groups, case.n)
    width = case.unit if form == 1 and case.n > case.unit else 1
    count = case.n // width
    raw = random_words(case.seed, "zeros", 1, count, device)[1] >> 16
    dead = raw % (4 if width == 1 else 2) == 0
    dead[:, sure % count], dead[:, (sure + 1) % count] = True, False
    return dead.repeat_interleave(width, 1).expand(case.groups, case.n)


def _few_codes(case: Case, codes: torch.Tensor) -> torch.Tensor:
    """Those of layers in which some never occur. ztern: not 0, as of a quantiser that clips to both
    sides alike, or the three in the middle; zfew: those of fewer bits, even ones, all but the
    largest, 0 and the largest. Fills that say what weights are come after it.
    """
    middle = 2 ** (case.bits - 1)
    if case.zeros == "ztern":
        return codes % 3 + (middle - 1) if case.seed % 4 == 3 else codes.clamp_(min=1)
    form = case.seed % 5
    if form == 4:
        return torch.where(codes < middle, 0, case.maxq)
    if form == 3:
        return codes.clamp_(max=case.maxq - 1)
    codes &= case.maxq - 1 if form == 2 else _half_of_bits(case)
    return codes


def _half_of_bits(case: Case) -> int:
    """The largest code that half of the bits hold."""
    return 2 ** ((case.bits + 1) // 2) - 1


def _two_of_four(case: Case, codes: torch.Tensor, device) -> torch.Tensor:
    """Of each four rows of K two weights are 0, as in layers that are pruned for sparse tensor
    cores, and now and then a third; of every fourth seed seven of eight, wherever they lie.
    """
    if case.seed % 4 == 3:
        raw = random_words(case.seed, "codes", case.k, case.n, device)[1] >> 16
        return torch.where(raw % 8 == 0, codes, 2 ** (case.bits - 1))
    raw = random_words(case.seed, "codes", case.k // 4, case.n, device)[1] >> 16
    first, second = torch.tensor(PAIRS, device=device).T[:, raw % len(PAIRS)].unsqueeze(2)
    has_two = (raw // len(PAIRS) % 4 > 0).unsqueeze(1)
    row = torch.arange(4, device=device).view(1, 4, 1)
    stays = (row == first) | (row == second) & has_two
    return torch.where(stays.flatten(0, 1), codes, 2 ** (case.bits - 1))


def _side_of_near(case: Case) -> int:
    """znear: a power of two, at most half of what all bits reach."""
    return 2 ** (case.seed % (case.bits - 1))


def _near(case: Case, codes: torch.Tensor) -> torch.Tensor:
    """Codes less zero-points, as of weights of fewer bits that are stored in more: as far to both
    sides, or one less to one of them. The ends are in the first two rows.
    """
    reach, form = _side_of_near(case), case.seed // (2 * (case.bits - 1)) % 3
    low, high = ((-reach, reach), (-reach, reach - 1), (1 - reach, reach))[form]
    found = low + codes % (high - low + 1)
    even = torch.arange(case.n, device=codes.device) % 2 == 0
    found[0], found[1] = torch.where(even, high, low), torch.where(even, low, high)
    return found


def _equal_codes(case: Case, codes: torch.Tensor, zeros: torch.Tensor, device) -> torch.Tensor:
    """Words and rows of K whose codes are their zero-points [K, N], words of one code."""
    word = torch.arange(case.k, device=device) // case.unit
    raw = random_words(case.seed, "codes", case.k // case.unit, case.n, device)[1]
    kind = (raw >> 16)[word] % 4
    codes = torch.where(kind == 1, codes[word * case.unit], codes)
    row = random_words(case.seed, "codes", case.k, 1, device)[1] % 8
    return torch.where((kind == 0) | (row == 0), zeros, codes)


def _zeros(case: Case, device) -> torch.Tensor:
    middle = 2 ** (case.bits - 1)
    fixed = {"z0": 0, "zmax": case.maxq}
    fixed |= dict.fromkeys(("zsym", "ztern", "zfour"), middle)
    if case.zeros in fixed:
        return torch.full((case.groups, case.n), fixed[case.zeros], device=device)
    zeros = random_words(case.seed, "zeros", case.groups, case.n, device)[0] & case.maxq
    if case.zeros == "zrow":
        kind = random_words(case.seed, "zeros", case.groups, 1, device)[1] % 4
        kind[-1], kind[0] = 2, 0  # the last is drawn, the first is the middle
        same = torch.where(kind == 0, 2 ** (case.bits - 1), 0)
        return torch.where(kind < 2, same, zeros)
    if case.zeros == "zband":
        return _band(case, zeros, device)
    if case.zeros == "znear" and case.bits > 1:
        reach = _side_of_near(case)
        inside = reach + zeros % (case.maxq - 2 * reach + 1)
        is_drawn = case.seed // (case.bits - 1) % 2
        return inside if is_drawn else torch.full_like(zeros, middle)
    zeros[:, 0] = 0  # stored as maxq under v1: the wrap that kernels forget
    zeros[:, 1] = case.maxq
    if case.zeros == "zfew" and case.bits > 1:
        return _zeros_beside_few_codes(case, zeros)
    if case.zeros == "zlay":
        zeros[0, 0] = 1 + case.seed % case.maxq
    if case.zeros == "zhead":
        zeros[0, 0], zeros[:, -1] = 2 ** (case.bits - 1), case.maxq
    return _alike(case, zeros)


def _zeros_beside_few_codes(case: Case, zeros: torch.Tensor) -> torch.Tensor:
    """Drawn, or the middle; of codes of fewer bits every other time of so many bits, too."""
    largest = _half_of_bits(case) if case.seed % 5 == 0 else case.maxq
    return zeros & largest if case.seed // 5 % 2 == 0 else torch.full_like(zeros, largest // 2 + 1)


def _band(case: Case, zeros: torch.Tensor, device) -> torch.Tensor:
    """From [G, N] those of a narrow band that has both its ends: one for the layer, or one for each
    column or group; it lies anywhere, around the middle, at 0 or at the largest.
    """
    spans = bands_of(case.bits)
    turn, form = divmod(case.seed, FORMS_OF_BANDS)
    place, span = turn // len(spans) % PLACES_OF_BANDS, spans[turn % len(spans)]
    most = case.maxq - span
    shape = {2: (1, case.n), 3: (case.groups, 1)}.get(form, (1, 1))
    drawn = random_words(case.seed, "zeros", *shape, device)[1] % (most + 1)
    low = (drawn, 2 ** (case.bits - 1) - (span + 1) // 2, 0, most)[place]
    within = zeros % (span + 1)
    ends = (within[0], within[-1]) if form == 2 else (within[:, 0], within[:, 1])
    for end, value in zip(ends, (0, span), strict=True):
        end[:] = value
    return within + low


def _fractions(case: Case, zeros: torch.Tensor, device) -> torch.Tensor:
    """Eighths, as far as the dtype of scales holds the zero-points then."""
    raw = random_words(case.seed, "zeros", case.groups, case.n, device)[1]
    points = zeros + ((raw >> 16) % 8) / 8.0
    return round_to(points.double(), FORMATS[case.scales_dtype[1:]]) - zeros


def _g_idx(case: Case, device) -> torch.Tensor:
    row = torch.arange(case.k, dtype=torch.int64, device=device)
    sequential = row // case.rows_per_group
    if case.g_idx in ("act", "holes"):
        key = random_words(case.seed, "g_idx", case.k, 1, device)[0].flatten() * case.k + row
        shuffled = sequential[torch.argsort(key)]
        return shuffled if case.g_idx == "act" else 2 * shuffled + 1
    if case.g_idx == "uneven":
        key = random_words(case.seed, "g_idx", case.k, 1, device)[0].flatten() * case.k + row
        return _uneven(case, sequential)[torch.argsort(key)]
    if case.g_idx == "recur":
        return _recurring(case, device)
    if case.g_idx == "near":
        return _nearly_in_order(case, sequential)
    if case.g_idx == "skew":  # group g starts near K * sqrt(g / G): early groups are larger
        return row * row * case.groups // (case.k * case.k)
    if case.g_idx == "mix":  # the unequal groups of skew, shuffled
        key = random_words(case.seed, "g_idx", case.k, 1, device)[0].flatten() * case.k + row
        return (row * row * case.groups // (case.k * case.k))[torch.argsort(key)]
    if case.g_idx == "perm":
        return _group_order(case, device)[sequential]
    if case.g_idx == "begun":  # by the seed so many eighths of the first group are another's
        missing = case.rows_per_group * (1 + case.seed % 7) // 8
        first = case.seed // 7 % (SHARD_STARTS + 1)
        return first + (row + missing) // case.rows_per_group
    simple = {
        "rev": sequential.flip(0),
        "shard": sequential + SHARD_STARTS,
        "odd": 2 * sequential + 1,
        "one": torch.zeros_like(sequential),
        "gap": sequential // 2 * 2,
    }
    return simple.get(case.g_idx, sequential)


def _nearly_in_order(case: Case, sequential: torch.Tensor) -> torch.Tensor:
    """Two rows of two groups exchanged; not the first or last of their groups, if others are."""
    size = min(case.rows_per_group, case.k)
    whole = case.k // size
    first = case.seed % whole
    second = (first + 1 + case.seed // whole % max(whole - 1, 1)) % whole
    within = 1 + case.seed % (size - 2) if size > 2 else 0
    rows = torch.tensor([first * size + within, second * size + within])
    found = sequential.clone()
    found[rows] = sequential[rows.flip(0)]
    return found


def _uneven(case: Case, sequential: torch.Tensor) -> torch.Tensor:
    """Groups of one size; an inner one, by the seed, has a few rows of the next one too."""
    whole, size = case.k // case.rows_per_group, case.rows_per_group
    if whole < 4:
        return sequential
    taker = 1 + case.seed % (whole - 3)
    few = 1 + case.seed % max(min(size - 1, 8), 1)
    found = sequential.clone()
    found[(taker + 1) * size : (taker + 1) * size + few] = taker
    return found


def _recurring(case: Case, device) -> torch.Tensor:
    """No word has rows of two groups, and a group has words that lie apart: the last ones are of
    group 0 again, as where K is padded; all groups come in turn, as where shards are joined; words
    are shuffled. In order where there are less than three words or two groups.
    """
    words, groups = case.k // case.unit, case.groups
    word = torch.arange(case.k, dtype=torch.int64, device=device) // case.unit
    of_a_group = max(min(case.rows_per_group // case.unit, (words - 1) // 2), 1)
    if words < 3 or groups < 2:
        return (word // of_a_group).clamp(max=groups - 1)
    form, turn = case.seed % 3, case.seed // 3
    if form == 1:
        groups = min(groups, max(words // 2, 2))
        together = 1 if turn % 2 else max(words // (2 * groups), 1)
        return word // together % groups
    if form == 2:
        key = random_words(case.seed, "g_idx", words, 1, device)[0].flatten() * words
        word = torch.argsort(key + torch.arange(words, device=device))[word]
    found = (word // of_a_group).clamp(max=groups - 1)
    again = 1 + turn % (words - 2 * of_a_group)
    return found if form == 2 else torch.where(word >= words - again, 0, found)


def _group_order(case: Case, device) -> torch.Tensor:
    """All groups, of three and more neither in rising nor in falling order; two are swapped."""
    group = torch.arange(case.groups, device=device)
    key = random_words(case.seed, "g_idx", case.groups, 1, device)[1].flatten()
    order = torch.argsort(key * case.groups + group)
    if case.groups == 2:
        return group.flip(0)
    steps = order.diff()
    return order.roll(1) if (steps > 0).all() or (steps < 0).all() else order


def _bias(case: Case, device) -> torch.Tensor:
    raw, more = (words[0] for words in random_words(case.seed, "bias", 1, case.n, device))
    bias = round_to(((raw & 0x3FF) - 512).double() / 64, FORMATS[case.dtype])
    if case.bias == LOW:
        digits = min(FORMATS[case.dtype].digits, 20)
        bias = _signed(1, raw >> 30) * _mantissa(raw, digits) * power_of_two(-12 - (raw >> 20) % 3)
    if case.fill == "masked":
        chosen = torch.arange(case.n, device=device) == (case.seed + 1) % case.n
        kind = torch.where(chosen, 1 + case.seed % 2, (more >> 4) % 3)
        bias = torch.where(chosen | (more % 4 == 0), _special(device)[kind], bias)
    if case.fill == EVERY_NAN and case.seed % 3 == 2:
        chosen = torch.arange(case.n, device=device) == (case.seed + 1) % case.n
        bias = torch.where(chosen | (more % 8 == 0), torch.nan, bias)
    return bias


def _left_words(case: Case, device) -> tuple[torch.Tensor, torch.Tensor]:
    return random_words(case.seed, "x", case.m, case.reduction, device)


def _scale_words(case: Case, device) -> torch.Tensor:
    return random_words(case.seed, "scales", case.groups, case.n, device)[0]


def _column_exponent(case: Case, device) -> torch.Tensor:
    """0..-3 per column; constant where the sum runs over columns, or steps would differ in it."""
    raw = random_words(case.seed, "cols", 1, case.n, device)[0]
    return -(raw % 4) * (not case.backward)


def _signed(magnitude: torch.Tensor, raw: torch.Tensor) -> torch.Tensor:
    return torch.where(raw & 1 == 1, -magnitude, magnitude).double()


def _exact_sizes(case: Case) -> tuple[int, int, int]:
    """Of `exact`: the sum for |x| = 1 and equal scales, exponents of scales, bits of x."""
    digits = min(FORMATS[case.dtype].digits, 11)
    per_unit = case.reduction * 2 * case.maxq
    spread = SPREAD if per_unit << SPREAD <= EXACT_BUDGET else 0
    return per_unit, spread, min(digits, (EXACT_BUDGET // (per_unit << spread)).bit_length() - 1)


def _exact(case: Case, device):
    """Integers times powers of two; sum_k |x| (q + z) stays under 2^24 steps in any order."""
    per_unit, spread, amplitude_bits = _exact_sizes(case)
    raw, sign = _left_words(case, device)
    magnitude = (raw & 0x7FF) >> (11 - max(amplitude_bits, 0))
    if amplitude_bits < 1:  # too long for dense ones: each row keeps every stride-th
        stride = -(-per_unit // EXACT_BUDGET)
        place = torch.arange(case.reduction, device=device)
        row = torch.arange(case.m, device=device).unsqueeze(1)
        magnitude = ((place - row) % stride == 0).long() * (case.layout not in OF_ONE_ELEMENT)
    exponent = _scale_words(case, device) % (spread + 1)
    exponent = exponent + EXACT_UNIT + _column_exponent(case, device)
    return power_of_two(exponent), _signed(magnitude, sign)


def _sparse(case: Case, device):
    """A few non-zeros a row, at the edges first: not even a float16 accumulator rounds."""
    steps = ACCUMULATOR_STEPS[case.dtype] // (2 * case.maxq)
    slots = max(1, min(steps, 6))
    largest = max(1, steps // slots)
    raw, sign = random_words(case.seed, "rows", case.m, slots, device)
    edges = _edges(case, device)
    slot = torch.arange(slots, device=device)
    row = torch.arange(case.m, device=device).unsqueeze(1)
    at_edge = edges[(row * slots + slot + case.seed) % len(edges)]
    place = torch.where(raw % 3 > 0, at_edge, (raw >> 8) % case.reduction)
    value = _signed(1 + (raw >> 4) % largest, sign)
    left = torch.zeros(case.m, case.reduction, dtype=torch.float64, device=device)
    left.scatter_add_(1, place, value)  # integers: any order of adding gives the same
    exponent = EXACT_UNIT + _column_exponent(case, device)
    return power_of_two(exponent).expand(case.groups, -1), left


def _edges(case: Case, device) -> torch.Tensor:
    """Places along the reduction where kernels go wrong: ends, word, group and tile edges."""
    length, word = case.reduction, case.unit
    step = case.rows_per_group
    wanted = [0, length - 1, word - 1, word, length - word, step - 1, step, length - step]
    wanted += [edge + side for edge in (16, 32, 64, 128, length // 2) for side in (-1, 0)]
    inside = dict.fromkeys(place for place in wanted if 0 <= place < length)
    return torch.tensor(list(inside), device=device)


def _one_per_row(case: Case, value: torch.Tensor, device) -> torch.Tensor:
    edges = _edges(case, device)
    raw = random_words(case.seed, "rows", case.m, 1, device)[0]
    row = torch.arange(case.m, device=device).unsqueeze(1)
    at_edge = edges[(row + case.seed) % len(edges)]
    place = torch.where(row < len(edges), at_edge, raw % case.reduction)
    left = torch.zeros(case.m, case.reduction, dtype=torch.float64, device=device)
    return left.scatter_(1, place, value)


def _mantissa(raw: torch.Tensor, digits: int) -> torch.Tensor:
    """[1, 2) with `digits` significant digits, the last one set: no shorter format holds it."""
    odd = (raw & (2 ** (digits - 1) - 1)) | 1
    return 1 + odd.double() / 2 ** (digits - 1)


def _full_scales(case: Case, raw: torch.Tensor) -> torch.Tensor:
    digits = FORMATS[case.scales_dtype[1:]].digits
    magnitude = _mantissa(raw, min(digits, 20)) * power_of_two(-5 - (raw >> 20) % 4)
    return torch.where((raw >> 28) == 1, -magnitude, magnitude)  # B-04: some quantisers make them


def _onehot(case: Case, device):
    """One product per output, full mantissas; a few scales and rows are subnormal in float16."""
    raw = _scale_words(case, device)
    scales = _full_scales(case, raw)
    if case.scales_dtype == "sf16":
        subnormal = (raw & 0x3FF | 1).double() * F16.smallest
        scales = torch.where((raw >> 24) % 8 == 1, subnormal, scales)
    word, sign = random_words(case.seed, "x", case.m, 1, device)
    value = _mantissa(word, min(FORMATS[case.dtype].digits, 20)) * power_of_two(
        (word >> 20) % 7 - 3
    )
    if case.dtype == "f16":
        value = torch.where(
            (word >> 24) % 16 == 1, (word & 0x3FF | 1).double() * F16.smallest, value
        )
    return scales, _one_per_row(case, torch.where(sign & 1 == 1, -value, value), device)


def _lanes(case: Case, device):
    """x picks one row of the weight; an odd mantissa per (group, column) tells them apart."""
    group = torch.arange(case.groups, device=device).unsqueeze(1)
    column = torch.arange(case.n, device=device)
    label = (group * case.n + column + case.seed) % 64  # 7 digits: bfloat16 scales hold them too
    scales = (1 + (2 * label + 1).double() / 128) / 64
    return scales, _one_per_row(
        case, torch.ones(case.m, 1, dtype=torch.float64, device=device), device
    )


def _coarse(case: Case, device):
    """Scales that many weights share: by the seed one for all, for blocks of columns, each column
    or each group; every other time powers of two down to float16's smallest. Every other row of x
    is as for `lanes`, the others have integers in blocks, and zeros around them.
    """
    form, width = case.seed % 4, WIDTHS[case.seed // 4 % len(WIDTHS)]
    group = torch.arange(case.groups, device=device).unsqueeze(1)
    column = torch.arange(case.n, device=device)
    group, column = group * (form in (1, 3)), column // width if form == 1 else column * (form == 2)
    shared = group * case.n + column
    raw = _scale_words(case, device)[shared // case.n, shared % case.n]
    if case.seed // (4 * len(WIDTHS)) % 2:
        scales = power_of_two(-(raw % 28))
        scales = torch.where(raw % 28 > 24, F16.smallest, scales)
    else:
        scales = _mantissa(raw, 7) * power_of_two(-5 - (raw >> 20) % 4)  # bfloat16 holds them too
    ones = torch.ones(case.m, 1, dtype=torch.float64, device=device)
    has_one = (torch.arange(case.m, device=device).unsqueeze(1) + case.seed // 3) % 2 == 0
    return scales, torch.where(has_one, _one_per_row(case, ones, device), _in_blocks(case, device))


def _steep(case: Case, device):
    """Scales of any size beside each other, in a column and in a row. Every other row of x is as
    for `onehot`, the others have odd eighths among the rows of one group: no larger scale of
    another one hides it.
    """
    lowest, highest, _ = _reach(case)
    raw, digits = _scale_words(case, device), FORMATS[case.scales_dtype[1:]].digits
    scales = _mantissa(raw, min(digits, 20)) * power_of_two(
        lowest + (raw >> 20) % (highest - lowest + 1)
    )
    word, sign = random_words(case.seed, "x", case.m, 1, device)
    value = _mantissa(word, min(FORMATS[case.dtype].digits, 20)) * power_of_two(-((word >> 20) % 4))
    single = _one_per_row(case, _signed(value, sign), device)
    if case.backward:
        return scales, single
    g_idx = _g_idx(case, device)
    of_row = g_idx[random_words(case.seed, "rows", case.m, 1, device)[1] % case.k]
    several, signs = _left_words(case, device)
    is_met = (g_idx == of_row) & (several % 4 > 0)
    few = torch.where(is_met, _signed(1 + 2 * ((several >> 4) % 4), signs) / 8, 0.0)
    has_one = (torch.arange(case.m, device=device).unsqueeze(1) + case.seed) % 2 == 0
    return scales, torch.where(has_one, single, few)


def _alike_scales(case: Case, device):
    """Scales that differ from each other by a few steps of their dtype: by the seed those of a
    column, those of a group, all of the layer. Every other row of x is as for `lanes`, the others
    are as for `randn`.
    """
    form, digits = case.seed % 3, min(FORMATS[case.scales_dtype[1:]].digits, 11)
    group = torch.arange(case.groups, device=device).unsqueeze(1) * (form == 1)
    column = torch.arange(case.n, device=device) * (form == 0)
    raw = _scale_words(case, device)
    shared = raw[group, column]
    least = 2 ** (digits - 1) + shared % (2 ** (digits - 1) - 4)
    step = (raw >> 24) % (2 + 2 * ((shared >> 20) % 2))  # 0 and 1, or up to 3
    scales = (least + step).double() * power_of_two(-2 - digits - (shared >> 16) % 4)
    ones = torch.ones(case.m, 1, dtype=torch.float64, device=device)
    has_one = (torch.arange(case.m, device=device).unsqueeze(1) + case.seed // 3) % 2 == 0
    return scales, torch.where(has_one, _one_per_row(case, ones, device), _normal(case, device))


def _varied(case: Case, device):
    """Several fills side by side, for layers too large to be asked for each: x as for `exact`, of
    whose later half most elements are the opposite of those in the first; by the column, scales as
    for `randn`, around float16's smallest normal number, its few smallest steps, those of `exact`,
    and two for large terms that cancel, some of whose partial sums float16 cannot hold. Of a
    gradient, whose sum runs over columns, those of `exact`.
    """
    scales, left = _exact(case, device)
    if case.backward:
        return scales, left
    half = case.reduction // 2
    raw, _ = _left_words(case, device)
    stays = (raw[:, half : 2 * half] >> 16) % 8 == 0
    left[:, half : 2 * half] = torch.where(stays, left[:, half : 2 * half], -left[:, :half])
    raw, digits = _scale_words(case, device), FORMATS[case.scales_dtype[1:]].digits
    normal = _mantissa(raw, min(digits, 11)) * power_of_two(-14 - (raw >> 20) % 3)
    one = torch.ones_like(normal)
    of_kinds = (
        *(_full_scales(case, raw), normal, (1 + raw % 3) * F16.smallest),
        *(scales.expand(normal.shape) * 2.0**6, one / 16, one * 2.0 ** (14 - case.bits)),
    )
    kind = _kinds_of_columns(case, device).expand(1, case.groups, case.n)
    return torch.stack(of_kinds).gather(0, kind)[0], left * 2.0 ** -max(_exact_sizes(case)[2], 0)


def _kinds_of_columns(case: Case, device) -> torch.Tensor:
    """[N]: which of the kinds of `_varied` each column is of."""
    return (torch.arange(case.n, device=device) + case.seed) % KINDS_OF_COLUMNS


def _alike_in_halves(case: Case, codes: torch.Tensor, zeros: torch.Tensor, device):
    """codes [K, N], zeros [G, N] with, in columns whose terms cancel, the codes of the first half
    of K again in the other one, and one zero-point.
    """
    cancels = _kinds_of_columns(case, device) >= KINDS_OF_COLUMNS - 2
    half = case.k // 2
    codes = codes.clone()
    codes[half : 2 * half] = torch.where(cancels, codes[:half], codes[half : 2 * half])
    return codes, torch.where(cancels, zeros[:1], zeros)


def _in_blocks(case: Case, device) -> torch.Tensor:
    """[M, R]: 1 to 4 of either sign in a quarter of blocks of 64, in one at least."""
    blocks = -(-case.reduction // FULL)
    number, (raw, sign) = torch.arange(blocks, device=device), _left_words(case, device)
    rows = random_words(case.seed, "rows", case.m, blocks, device)
    is_full = (rows[1] % 4 == 0) | (number == rows[0][:, :1] % blocks)
    place = torch.arange(case.reduction, device=device) // FULL
    return torch.where(is_full[:, place], _signed(1 + raw % 4, sign), 0.0)


def _normal(case: Case, device) -> torch.Tensor:
    """Nearly normal, variance 4/3: the sum of four uniform 16-bit words, an exact integer."""
    first, second = _left_words(case, device)
    total = (first & 0xFFFF) + (first >> 16) + (second & 0xFFFF) + (second >> 16)
    return (total - 2 * 0xFFFF).double() / 2**15


def _randn(case: Case, device):
    return _full_scales(case, _scale_words(case, device)) / 8, _normal(case, device)


def _big(case: Case, device):
    """Outputs on both sides of float16's 65504; weights stay below it."""
    raw = _scale_words(case, device)
    column = random_words(case.seed, "cols", 1, case.n, device)[0] % 12
    row = random_words(case.seed, "rows", case.m, 1, device)[0] % 12
    scales = _mantissa(raw, 8) * power_of_two(14 - case.bits - column)
    return scales, _normal(case, device) * power_of_two(row)


def _heavy(case: Case, device):
    """Weights on both sides of float16's 65504, and x so small that results are not."""
    raw = _scale_words(case, device)
    exponent = (16 - case.bits + (raw >> 20) % 4).clamp(max=14)
    left = _normal(case, device) * power_of_two(torch.tensor(-12, device=device))
    return _mantissa(raw, 8) * power_of_two(exponent), left


def _tiny(case: Case, device):
    """Scales and x of a few float16 subnormal steps; products and outputs near the bottom."""
    raw = _scale_words(case, device)
    row = random_words(case.seed, "rows", case.m, 1, device)[0]
    left = _normal(case, device) * power_of_two(-(row % 3) * 8)
    return ((raw & 0x3FF) + 1).double() * F16.smallest, left


def _faint(case: Case, device):
    """x near float16's smallest normal number, in all digits that there are, one a row in every
    other one; scales so large that results are not.
    """
    raw, sign = _left_words(case, device)
    word, its_sign = random_words(case.seed, "x", case.m, 1, device)
    has_one = (torch.arange(case.m, device=device).unsqueeze(1) + case.seed) % 2 == 0
    single = _one_per_row(case, _faint_numbers(case, word, its_sign), device)
    raw_scales = _scale_words(case, device)
    scales = _mantissa(raw_scales, 8) * power_of_two(10 - case.bits + (raw_scales >> 20) % 4)
    return scales, torch.where(has_one, single, _faint_numbers(case, raw, sign))


def _faint_numbers(case: Case, raw: torch.Tensor, sign: torch.Tensor) -> torch.Tensor:
    digits = min(FORMATS[case.dtype].digits, 20)
    return _signed(_mantissa(raw, digits) * power_of_two(-10 - (raw >> 20) % 6), sign)


def _nonfinite(case: Case, device):
    """randn with NaN or infinities in some rows of x, in some scales, or both (by the seed)."""
    scales, left = _randn(case, device)
    special = _special(device)
    sure = case.seed // 3 % 3  # the kind of the one that there always is
    if case.seed % 3 != 1:
        raw = random_words(case.seed, "rows", case.m, 1, device)[0]
        sure_row = case.seed % max(rows_stored(case), 1)  # x keeps it
        chosen = torch.arange(case.m, device=device).unsqueeze(1) == sure_row
        place = torch.arange(case.reduction, device=device) == (raw >> 8) % case.reduction
        if case.seed % 7 == 6:  # rows of zeros, to which a special scale makes a difference
            left = torch.where((raw >> 12) % 4 == 0, 0.0, left)
        kind = torch.where(chosen, sure, (raw >> 4) % 3)
        left = torch.where((chosen | (raw % 4 == 0)) & place, special[kind], left)
    if case.seed % 3 != 0:
        raw = random_words(case.seed, "cols", case.groups, case.n, device)[0]
        chosen = torch.arange(case.n, device=device) == case.seed % case.n
        chosen = chosen & (torch.arange(case.groups, device=device) == 0).unsqueeze(1)
        kind = torch.where(chosen, sure, (raw >> 4) % 3)
        scales = torch.where(chosen | (raw % 8 == 0), special[kind], scales)
    return scales, left


def _opposed(case: Case, device):
    """randn with two infinities in some rows of x, of the same sign or not: half of the sum apart,
    or by the seed next to each other. Where they pull to different sides NaN is due.
    """
    scales, left = _randn(case, device)
    raw = random_words(case.seed, "rows", case.m, 1, device)[0]
    sure = case.seed % max(rows_stored(case), 1)  # x keeps it
    chosen = (torch.arange(case.m, device=device).unsqueeze(1) == sure) | (raw % 3 == 0)
    apart = 1 if case.seed % 4 == 3 else max(1, case.reduction // 2)
    place, first = torch.arange(case.reduction, device=device), (raw >> 8) % case.reduction
    for at, bit in ((first, 4), ((first + apart) % case.reduction, 5)):
        infinity = _special(device)[1 + (raw >> bit & 1)]
        left = torch.where(chosen & (place == at), infinity, left)
    return scales, left


def _masked(case: Case, device):
    """randn with infinities and NaN where others are masked out: in x where every second group, or
    column of a gradient, has scales of 0, block by block; and in the bias (see `_bias`), of every
    third seed there alone.
    """
    scales, left = _randn(case, device)
    if not case.m or (case.bias and case.seed % 3 == 1):
        return scales, left
    raw = random_words(case.seed, "rows", case.m, 1, device)[0]
    sure = case.seed % rows_stored(case)  # x keeps it
    chosen = torch.arange(case.m, device=device).unsqueeze(1) == sure
    place, at = torch.arange(case.reduction, device=device), (raw >> 8) % case.reduction
    special = _special(device)[(raw >> 4) % 3]
    left = torch.where((chosen | (raw % 4 == 0)) & (place == at), special, left)
    column, met = torch.arange(case.n, device=device), at[sure, 0]
    if case.backward:
        return torch.where((column - met) % 2 == 0, 0.0, scales), left
    group = torch.arange(case.groups, device=device).unsqueeze(1) - _g_idx(case, device)[met]
    return torch.where((group + column // MASKED_COLUMNS) % 2 == 0, 0.0, scales), left


def _nans(case: Case, device):
    """randn beside zeros of either sign, in most rows of x one NaN, some rows of such zeros; of
    every fourth seed NaN in a column of scales, of every third in the bias (see `_bias`). In which
    form each is stored: see nans.py.
    """
    scales, left = _randn(case, device)
    words, signs = _left_words(case, device)
    row_word = random_words(case.seed, "rows", case.m, 1, device)[0]
    zeros = torch.where(signs & 1 == 1, -0.0, 0.0).double()
    left = torch.where((words % 4 == 0) | ((row_word >> 4) % 8 == 0), zeros, left)
    sure_row = case.seed % max(rows_stored(case), 1)  # x keeps it
    chosen = torch.arange(case.m, device=device).unsqueeze(1) == sure_row
    chosen = chosen | (row_word % 4 > 0)
    place = torch.arange(case.reduction, device=device) == (row_word >> 8) % case.reduction
    left = torch.where(chosen & place, torch.nan, left)
    if case.seed % 4 == 3:
        raw = random_words(case.seed, "cols", case.groups, case.n, device)[0]
        of_column = torch.arange(case.n, device=device) == case.seed // 4 % case.n
        scales = torch.where(of_column & (raw % 2 == 0) | (raw % 32 == 0), torch.nan, scales)
    return scales, left


def _special(device) -> torch.Tensor:
    return torch.tensor([torch.nan, torch.inf, -torch.inf], dtype=torch.float64, device=device)


def _binades(case: Case, device) -> torch.Tensor:
    """Words [1, N] that choose a power of two; [G, 1] where the sum runs over columns."""
    shape = (case.groups, 1) if case.backward else (1, case.n)
    return random_words(case.seed, "cols", *shape, device)[0]


def _ties(case: Case, device):
    """Many sums are half way between two results, in every binade, subnormal ones too.

    Such a sum has one digit more than the result and ends in 1: x is one odd integer a row, with a
    few ones beside it; scales are powers of two. A float32 result is not rounded.
    """
    digits = min(FORMATS[case.dtype].digits, 11)
    raw, sign = random_words(case.seed, "rows", case.m, 4, device)
    word, others = raw[:, :1], raw[:, 1:]
    leading = torch.ones_like(word) << (digits - case.bits + word % 2).clamp(min=0)
    odd = leading | word >> 4 & leading - 1 | 1
    row = torch.arange(case.m, device=device).unsqueeze(1)
    is_boundary = ((row + case.seed) % 8 == 0) & (case.dtype == "f16")
    odd = torch.where(is_boundary, BOUNDARY[case.bits], odd)
    left = _one_per_row(case, _signed(odd, sign[:, :1]), device)
    few = (others >> 4 & 1).cumprod(1) * ~is_boundary  # none to three ones
    left = left.scatter_add_(1, (others >> 8) % case.reduction, _signed(few, sign[:, 1:]))
    far = 0 if case.dtype == "f16" else 24 * ((word >> 24) % 5 - 2)
    binade = _binades(case, device)
    exponent = binade % 30  # the lowest gives subnormal results, the highest 65520
    for end, place in ((0, 0), (29, 1)):
        exponent = torch.where((binade >> 8) % 8 == place, end, exponent)
    scales = power_of_two(exponent - 24).expand(case.groups, case.n)
    return scales, left * power_of_two(word * 0 + far - 1)


def _reach(case: Case) -> tuple[int, int, int]:
    """Exponents: the lowest and the highest of scales, the highest of x.

    Weights stay below 65504 where they may be rounded to float16; x (q + z), weights and products
    stay within float32, and far from its subnormals, which GPUs may flush.
    """
    half_scales = case.scales_dtype == "sf16"
    most = 15 - case.bits
    if case.dtype == "f16":
        return (-24 if half_scales else -40), most, 15
    lowest = -24 if half_scales else -50
    if case.seed % 2:
        return lowest, (most if half_scales else 40), 40
    return lowest, -1, 125 - case.bits


def _is_outlier(case: Case, device) -> torch.Tensor:
    """[R]: where x is far larger than elsewhere, as in a few channels of real layers."""
    raw = random_words(case.seed, "g_idx", case.reduction, 1, device)[1].flatten()
    sure = torch.arange(case.reduction, device=device) == case.seed // 4 % case.reduction
    return (raw % 16 == 0) | sure


def _wide(case: Case, device):
    """Scales in all binades that there are, full mantissas; x of four kinds of rows in turn:

    reals with outliers, one near the largest number, reals with tiles of zeros, one of any size.
    """
    lowest, highest, top = _reach(case)
    raw = _scale_words(case, device)
    exponent = lowest + _binades(case, device) % (highest - lowest + 1) - (raw >> 20) % 4
    digits = FORMATS[case.scales_dtype[1:]].digits
    scales = _mantissa(raw, min(digits, 20)) * power_of_two(exponent.clamp(min=lowest))
    return torch.where((raw >> 28) == 1, -scales, scales), _wide_left(case, top, device)


def _wide_left(case: Case, top: int, device) -> torch.Tensor:
    digits = min(FORMATS[case.dtype].digits, 20)
    row = torch.arange(case.m, device=device).unsqueeze(1)
    kind = (row + case.seed) % 4
    row_word = random_words(case.seed, "rows", case.m, 1, device)[0]
    raw, sign = _left_words(case, device)
    outlier = _mantissa(raw, digits) * power_of_two(min(top, 30) - (raw >> 20) % 3)
    small = _normal(case, device) * power_of_two(-(row_word % 8))
    reals = torch.where(_is_outlier(case, device) & (kind == 0), _signed(outlier, sign), small)
    everywhere = case.seed % 3 == 0
    in_zeros = _in_tile_of_zeros(case, device) & ((kind == 2) | everywhere)
    is_zero = (row > 0) & ((row_word >> 8) % 8 == 7)
    reals = torch.where(in_zeros | is_zero, 0.0, reals)
    word, sign = random_words(case.seed, "x", case.m, 1, device)
    lowest = -24 if case.dtype == "f16" else -50
    exponent = torch.where(kind == 1, top, lowest + (word >> 20) % (top - lowest + 1))
    single = _signed(_mantissa(word, digits) * power_of_two(exponent), sign)
    return torch.where(kind % 2 == 1, _one_per_row(case, single, device), reals)


def _pruned(case: Case, device):
    """exact, but for a group whose scales are 0: there x is so large that a float32 sum over it
    and other groups has no place for what is small, which alone decides.

    Of a gradient, whose sum runs over columns, some of these; nothing is pruned where scales of
    groups are alike, or all rows in one.
    """
    scales, left = _exact(case, device)
    left, scales = left * 2.0**SMALL_BESIDE_PRUNED, scales * 2.0**SCALES_BESIDE_PRUNED
    g_idx = _g_idx(case, device)
    group = g_idx[case.seed % case.k]
    rows = _is_outlier(case, device) if case.backward else g_idx == group
    if rows.all() or case.zeros in ("zcol", "zlay"):
        return scales, left
    scales = scales.expand(case.groups, case.n).clone()
    if case.backward:
        scales[:, rows] = 0.0
    else:
        scales[group] = 0.0
    raw, sign = _left_words(case, device)
    large = _mantissa(raw, min(FORMATS[case.dtype].digits, 11)) * 2.0**LARGEST_OF_PRUNED
    chosen = rows & ((raw >> 24) % 4 == 0)
    chosen |= rows & (rows.cumsum(0) == 1)  # in each row of x the first one
    return scales, torch.where(chosen, _signed(large, sign), left)


def _in_tile_of_zeros(case: Case, device) -> torch.Tensor:
    """[R]: whole tiles, the same in all rows; the first by the seed, the last one never."""
    tile = torch.arange(case.reduction, device=device) // TILES[case.seed // 3 % len(TILES)]
    raw = random_words(case.seed, "g_idx", case.reduction, 1, device)[1].flatten()
    is_zero = (raw >> 8) % 2 == 0
    is_zero[0] = case.seed % 2 == 0
    return is_zero[tile] & (tile < tile[-1])


_FILLS = {
    "exact": _exact,
    "sparse": _sparse,
    "onehot": _onehot,
    "lanes": _lanes,
    "randn": _randn,
    "big": _big,
    "tiny": _tiny,
    "nonfinite": _nonfinite,
    "ties": _ties,
    "wide": _wide,
    "cancel": cancelling,
    "pruned": _pruned,
    "masked": _masked,
    EVERY_NAN: _nans,
    HEAVY: _heavy,
    "coarse": _coarse,
    "steep": _steep,
    VARIED: _varied,
    "alike": _alike_scales,
    "opposed": _opposed,
    "faint": _faint,
}
