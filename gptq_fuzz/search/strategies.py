"""Hypothesis strategies that construct Cases inside (or just outside) a Backend's limits.

Nothing is filtered. Each draw is one choice with the simplest value first, sizes before all else,
so that shrinking makes a problem small before it makes it plain. A new axis is drawn in `_axes`.
"""

from __future__ import annotations

from hypothesis import strategies as st

from gptq_fuzz.case.axes import (
    AXES,
    BY_FIELD,
    CLASHES,
    CUT,
    DTYPES,
    FILLS_OF,
    MOST_CALLED_AGAIN,
    RANKS,
    SCALES_DTYPES,
    STRIDED,
    TURNED,
    UNDRAWN,
    WHOLE_GROUP,
    codes_in_words,
)
from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.search.own_time import own_time

TILES = (16, 32, 64, 128)
THRESHOLDS = (8, 50)  # rows at which engines switch kernels
AROUND = (-2, -1, 0, 1, 2)
GROUP_SIZES = (WHOLE_GROUP, 1, 2, 3, 4, 8, 16, 32, 64, 128, 5, 12, 20, 24, 48, 96, 256, 1024)
AMOUNTS = (1, 2, 3, 4, 5, 8, 12, 13, 16)  # elements of padding or offset, whole vectors or not
LARGEST_SEED = 9999
WITHOUT = 3  # cases under no condition to one under some
OFTEN_USUAL = ("state", "layout", "strided", "start")  # axes of which half the cases have no token


def _near(*centres: int) -> set[int]:
    return {centre + side for centre in centres for side in AROUND}


_MORE_ROWS = {43, 57, 72, 96, 100, 112, 200, 256}
# One row is what decoding asks for: the commonest, and the simplest.
ROWS = (*(1,) * 8, *sorted(set(range(2, 41)) | _near(*THRESHOLDS, *TILES) | _MORE_ROWS), 0, 0, 0)
# Columns and reductions are raised to whole words (4, 8 or 16 codes) after the draw.
COLUMNS = tuple(sorted(set(range(1, 73, 4)) | _near(*TILES, 192) | {160, 256, 320, 512, 1040}))
REDUCTIONS = tuple(
    sorted(
        set(range(1, 81, 4))
        | _near(*TILES, 96)
        | {160, 192, 200, 256, 320, 512, 1024, 1040, 2880, 4096}
    )
)


@st.composite
def cases(draw, limits: Limits, fill: str | None = None) -> Case:
    """Legal problems; `fill` fixes that axis."""
    with own_time("drawing a case", limits):
        return _drawn(draw, limits, fill)


def _drawn(draw, limits: Limits, fill: str | None) -> Case:
    m = draw(st.sampled_from(ROWS))
    n = draw(st.sampled_from(COLUMNS))
    k = draw(st.sampled_from(REDUCTIONS))
    axes = draw(_axes(limits))
    fills = FILLS_OF.get(BY_FIELD["layout"].kind(axes["layout"]), ())
    if fill is not None:
        axes["fill"] = fill
    elif fills and axes["fill"] not in fills:  # or of layouts with few of them hardly any is drawn
        axes["fill"] = draw(st.sampled_from([one for one in limits.fills if one in fills]))
    for clash in (*CLASHES, *UNDRAWN):
        if clash.is_met(axes):
            axes[clash.one] = BY_FIELD[clash.one].values[0]
    word = codes_in_words(axes["bits"])
    if axes["rank"] == 1:
        m = 1
    if axes["condition"] == "calls500":
        m, n, k = (min(size, MOST_CALLED_AGAIN) for size in (m, n, k))
    m_unit, n_unit, k_unit = limits.units(word)
    m, n, k = _affordable(limits, m, _whole(n, n_unit), _whole(k, k_unit), word)
    size = draw(_group_size(limits, k))
    sizes = {"m": m, "n": n, "k": k, "group_size": size}
    fitted = limits.fitted(axes | sizes)
    for name, unit in (("n", n_unit), ("m", m_unit)):  # whole groups may take more of K
        while fitted[name] > unit and not limits.affords(
            fitted["m"], fitted["n"], fitted["k"], word
        ):
            fitted[name] = _whole(fitted[name] // 2, unit)
    return Case(**fitted, seed=draw(_SEEDS))


_SEEDS = st.integers(0, LARGEST_SEED)


@st.composite
def _axes(draw, limits: Limits) -> dict:
    met, amount = limits.for_draws(), draw(st.sampled_from(AMOUNTS))
    rank = draw(st.sampled_from(met.ranks))
    choices = {axis.field: met.of(axis) for axis in AXES}
    choices |= {"rank": (rank,), "layout": met.layouts_of(rank)}
    choices["strided"] = _subsets(met.strided)
    choices["condition"] = ("",) * (WITHOUT * len(met.conditions)) + choices["condition"]
    for field in OFTEN_USUAL:
        choices[field] = choices[field][:1] * len(choices[field]) + choices[field]
    choices["backward"] = (False,) * (len(choices["backward"]) - 1) + choices["backward"]
    axes = {
        axis.field: axis.with_number(draw(st.sampled_from(choices[axis.field])), amount)
        for axis in AXES
    }
    axes["extra"] = tuple(
        (token.name, value)
        for token in limits.tokens
        if (value := draw(st.sampled_from((None,) * token.optional + token.values))) is not None
    )
    return axes


def _subsets(strided: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    single = tuple((name,) for name in strided)
    return ((), *single, strided) if len(strided) > 1 else ((), *single)


def _whole(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def _affordable(limits: Limits, m: int, n: int, k: int, word: int) -> list[int]:
    """[m, n, k] after halving what has the most tiles until the problem may be drawn."""
    sizes, units = [m, n, k], limits.units(word)
    while not limits.affords(*sizes, word):
        counts = [  # of what is more than one unit: a unit cannot be halved
            -(-size // side) * (size > unit)
            for size, side, unit in zip(sizes, limits.tile, units, strict=True)
        ]
        largest = counts.index(max(counts))
        sizes[largest] = _whole(sizes[largest] // 2, units[largest])
    return sizes


@st.composite
def _group_size(draw, limits: Limits, k: int) -> int:
    """Mostly below K, so that a problem that loses rows keeps more than one group."""
    if limits.group_sizes is not None:
        return draw(st.sampled_from(limits.group_sizes))
    size = draw(st.sampled_from(GROUP_SIZES))
    may_exceed = draw(st.sampled_from((False, False, False, True)))
    if size <= k or may_exceed:
        return size
    return max(smaller for smaller in GROUP_SIZES if smaller < k)


@st.composite
def refusals(draw, limits: Limits) -> Case:
    """Problems that must be refused: one invalid operand, or one axis outside the limits."""
    case = draw(cases(limits, fill="exact"))
    return refused(case, draw(st.sampled_from(ways_to_be_refused(limits))))


def ways_to_be_refused(limits: Limits) -> list[dict]:
    """Each invalid operand, and each step out of the limits, that a kernel promises to refuse."""
    steps = outside(limits) if limits.refuses_outside else []
    return [{"bad": name} for name in limits.bad] + steps


def refused(case: Case, way: dict) -> Case:
    """A legal problem in a form that must be refused."""
    # The layer checks its arguments; gradients come after it.
    return case.replace(**{"fill": "exact", "state": "", "condition": "", "backward": False, **way})


def outside(limits: Limits) -> list[dict]:
    """Each single step out of the limits that the operands themselves show to the kernel."""
    steps = [{"dtype": name} for name in DTYPES if name not in limits.dtypes]
    steps += [{"scales_dtype": name} for name in SCALES_DTYPES if name not in limits.scales_dtypes]
    # Less what is cut out of a wider tensor, or transposed: of one row no stride shows that.
    stepped = (name for name in STRIDED if name not in (*CUT.values(), *TURNED.values()))
    steps += [{"strided": (name,)} for name in stepped if name not in limits.strided]
    others = [rank for rank in RANKS if rank not in limits.ranks and rank != 1]
    steps += [{"rank": rank, "layout": ""} for rank in others]
    return steps
