"""The axes of a Case: their values, simplest first, and how a line spells them.

Whatever goes over all axes follows `AXES`: the grammar of the line, what `Limits` allow, `--only`,
draws, coverage, pairs and triples, shrinking. A new axis is a row there and a field of Case and of
Limits; a new value is a word in its list. What either does is then up to problem/ and reference/.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

BITS = (8, 4, 2, 3, 6, 5, 7, 1)
G_IDX_KINDS = (
    *("seq", "act", "rev", "one", "skew", "mix", "gap", "perm", "shard", "odd", "holes", "near"),
    *("uneven", "recur", "begun"),
    "none",
)
ZERO_KINDS = (
    *("zall", "zsym", "z0", "zmax", "zeq", "zrow", "zcol", "zlay", "zhead"),
    *("zband", "ztern", "zfew", "zfour", "znear", "zdead", "zflt"),
)
FRACTIONS = "zflt"  # the zero-points that only kernels of unpacked codes can be given
BANDS = (4, 1, 2, 3, 8, 7, 16, 15, 32, 31, 64, 63, 128, 127)  # zband: largest less smallest
FORMS_OF_BANDS = 4  # of seeds one after another: twice one band for a layer, for a column, a group
PLACES_OF_BANDS = 4  # one after all bands: anywhere, around the middle, at 0, at the largest
FORMATS = ("v1", "v2")
LOW = "low"  # a bias of next to nothing, as training leaves some
DTYPES = ("f16", "bf16", "f32")
SCALES_DTYPES = ("sf16", "sbf16", "sf32")
LAYOUTS = (
    *("", "pad", "xt", "off", "bcast", "step", "xtp", "lap", "cut", "alt", "swap", "expand"),
    *("kcast", "leap", "scalar", "xts", "lapt"),
)
# Layouts with a number behind them
COUNTED = ("pad", "off", "step", "xtp", "lap", "cut", "leap", "xts", "lapt")
BATCHED = ("cut", "alt", "swap", "expand")  # layouts of an x of rank 3 or 4
SHARED = ("bcast", "expand", "scalar")  # layouts in which rows of x are one in memory
LAP, LAP_TURNED = "lap", "lapt"  # in which they, or columns, are so in part
OF_ONE_ELEMENT = ("kcast", "scalar")  # in which each row is one element
RANKS = (2, 1, 3, 4)
STRIDED = ("wstr", "sstr", "zstr", "gstr", "wcut", "scut", "zcut", "wxt", "sxt", "zxt")
STRIDES = {"qweight": "wstr", "scales": "sstr", "qzeros": "zstr", "g_idx": "gstr"}
# A kernel that takes an operand with any strides takes one that is cut out of a wider one, too, and
# one that is transposed
CUT = {"wstr": "wcut", "sstr": "scut", "zstr": "zcut"}
TURNED = {"wstr": "wxt", "sstr": "sxt", "zstr": "zxt"}
# Bytes from an address that torch would give to the first of each operand; w: of all but x; of one
# alone where its letter stands
MOVED_ALONE = {"q": "qweight", "s": "scales", "z": "qzeros", "g": "g_idx"}
FAR = f"w{2**33}"  # elements of 4 bytes, of 2 bytes and bytes end in 32 bits before it
STARTS = (0, 4, 8, 16, 2, "w2", "w4", "w8", *(f"{name}4" for name in MOVED_ALONE), FAR)
FILLS = (
    "exact",
    "sparse",
    "onehot",
    "lanes",
    "randn",
    "big",
    "tiny",
    "nonfinite",
    "ties",
    "wide",
    "cancel",
    "pruned",
    "masked",
    "nans",
    "heavy",
    "coarse",
    "steep",
    "varied",
    "alike",
    "opposed",
    "faint",
)
VARIED, KINDS_OF_COLUMNS = "varied", 6  # the fill of which each column asks something else
HEAVY = "heavy"  # the fill whose weights float16 cannot hold
EVERY_NAN = "nans"  # the fill that has NaN in other forms than torch gives it
# What surrounds a call, see oracle/conditions: those that any kernel is asked, then those that one
# has to promise; and those of them that only a GPU has
USUAL_CONDITIONS = (
    *("defbf16", "deff16", "deff64", "defmeta", "omp3", "det", "other"),
    *("grad", "nograd", "infer", "autocast", "param", "threads2", "calls500", "stream"),
)
CONDITIONS = (*USUAL_CONDITIONS, "graph", "batchinv", "opcheck", "compile", "oom")
ON_A_GPU = ("stream", "graph")
# Ambient states, in which another condition of a case can take place: each later one, but for a
# state of the same kind, and for those that are asked alone
STATES = CONDITIONS[: CONDITIONS.index("autocast") + 1]
_OF_ONE_KIND = (
    ("defbf16", "deff16", "deff64"),
    ("det", "other"),
    ("grad", "nograd", "infer"),
)
_ALONE = (*ON_A_GPU, "opcheck")


def may_take_place_in(state: str) -> tuple[str, ...]:
    """The conditions that may follow a state in the line of a case."""
    alike = next((kind for kind in _OF_ONE_KIND if state in kind), ())
    later = CONDITIONS[CONDITIONS.index(state) + 1 :]
    return tuple(name for name in later if name not in (*alike, *_ALONE))


# Those whose calls are not handed an `out`
INTO_NO_OUT = ("grad", "threads2", "calls500", *ON_A_GPU, "batchinv", "opcheck", "compile")
# Products in 16 bits lose what others are about
AUTOCAST_FILLS = ("exact", "sparse", "onehot", "randn")
# Layouts in which elements of x share memory, and the fills whose x may: rows that hold parts of
# each other, and rows of one value, in whose sums errors of weights add up and do not cancel
FILLS_OF = {
    **dict.fromkeys((LAP, LAP_TURNED), ("exact", "sparse", "randn")),
    **dict.fromkeys(OF_ONE_ELEMENT, ("exact",)),
}
MOST_CALLED_AGAIN = 48  # rows, columns, reduction of what is drawn for calls500
BAD = (
    *("gidx", "neg", "glen", "gdtype"),
    *("shape", "zshape", "sshape"),
    *("dtype", "wdtype", "zdtype", "sdtype"),
    *("bits", "rank", "device"),
)
WHOLE_GROUP = -1  # "gall": one group over all of K, as group size -1 says in checkpoints
WORD_BITS = 32
ALL = "all"  # of the members of a set, in a summary


@dataclass(frozen=True)
class Axis:
    """An axis with named values: `field` of Case is one of `values`, the first where none is named.

    `listed` is the field of Limits that holds those a kernel takes. A token of the line is `prefix`
    and the value; `flag` is that of an axis that is on or off, with a further value behind it. Of
    layouts `counted` have a number behind them; of a set `several` may be there at once. In a
    summary the axis is called `named`, and a value without a token `plain`.
    """

    field: str
    listed: str
    values: tuple
    named: str = ""
    plain: str = "none"
    prefix: str = ""
    flag: str = ""
    counted: tuple[str, ...] = ()
    several: bool = False

    @property
    def pattern(self) -> str:
        """What tokens of this axis match."""
        amount = "[1-9][0-9]*"
        tokens = [self.token(value) + amount * (value in self.counted) for value in self.values]
        return "|".join(token for token in tokens if token)

    def token(self, value) -> str:
        """How the line spells a value; empty where it does not."""
        if self.flag or not value:
            return (self.flag + (value if isinstance(value, str) else "")) * bool(value)
        return f"{self.prefix}{value}"

    def read(self, token: str) -> Any:
        """The value that a token stands for. Raises KeyError where there is none."""
        if self.kind(token) in self.counted:
            return token
        return {self.token(value): value for value in self.values}[token]

    def kind(self, value) -> Any:
        """That of `values` which it is: a layout less its number."""
        return value.rstrip("0123456789") if self.counted else value

    def with_number(self, value, number: int) -> Any:
        """The value with this number behind it, where it takes one."""
        return f"{value}{number}" if value in self.counted else value

    @property
    def name(self) -> str:
        """What a summary calls the axis."""
        return self.named or self.field

    def word(self, value) -> str:
        """What a summary calls a value."""
        if self.several:
            return ALL if len(value) > 1 else "".join(value) or self.plain
        return self.token(self.kind(value)) or self.plain

    def words(self, values: tuple) -> tuple[str, ...]:
        """Those of all of these values; of a set, of what may be in it."""
        if not self.several:
            return tuple(self.word(value) for value in values)
        inside = tuple(value for value in self.values if value in values)
        return (self.plain, *inside, *[ALL] * (len(inside) > 1))

    def value_of(self, word: str, values: tuple) -> Any:
        """The other way round: the one of `values` (of a set, of their sets) with this word."""
        if not self.several:
            return next(value for value in values if self.word(value) == word)
        every = tuple(value for value in self.values if value in values)
        return {self.plain: (), ALL: every}.get(word, (word,))


# In the order of the line. Sizes, the seed, the invalid operand and tokens of a Backend are no axes
# of this kind: see the grammar in case.py.
AXES = (
    Axis("bits", "bits", BITS, prefix="b"),
    Axis("g_idx", "g_idx", G_IDX_KINDS),
    Axis("zeros", "zeros", ZERO_KINDS),
    Axis("checkpoint_format", "formats", FORMATS, named="format"),
    Axis("dtype", "dtypes", DTYPES),
    Axis("scales_dtype", "scales_dtypes", SCALES_DTYPES, named="scales"),
    Axis("layout", "layouts", LAYOUTS, plain="contiguous", counted=COUNTED),
    Axis("rank", "ranks", RANKS, prefix="dim"),
    Axis("strided", "strided", STRIDED, several=True),
    Axis("start", "starts", STARTS, plain="aligned", prefix="at"),
    Axis("bias", "bias", (False, True, LOW), flag="bias"),
    Axis("out", "out", (False, True), named="result", plain="new", flag="out"),
    Axis("backward", "backward", (False, True), named="direction", plain="forward", flag="bwd"),
    Axis("fill", "fills", FILLS),
    Axis("state", "conditions", ("", *STATES)),  # in which the condition takes place
    Axis("condition", "conditions", ("", *CONDITIONS)),
)
BY_FIELD = {axis.field: axis for axis in AXES}
UNDER = ("state", "condition")  # fields of what surrounds a call


class Clash(NamedTuple):
    """Values of two axes that no case has together, and why."""

    one: str
    ones: tuple
    other: str
    others: tuple
    why: str

    def is_met(self, values: dict[str, Any]) -> bool:
        """Whether a case with these values, by field, has both."""
        kind = BY_FIELD[self.one].kind
        return kind(values[self.one]) in self.ones and values[self.other] in self.others


CLASHES = (
    Clash("layout", BATCHED, "rank", (1, 2), "is for x of rank 3 or 4"),
    *(
        Clash(
            "layout",
            (layout,),
            "fill",
            tuple(fill for fill in FILLS if fill not in fills),
            f"is for the fills {', '.join(fills)}",
        )
        for layout, fills in FILLS_OF.items()
    ),
    Clash("condition", CONDITIONS, "backward", (True,), "is for a product, not for its gradient"),
    Clash("state", STATES, "backward", (True,), "is for a product, not for its gradient"),
    *(Clash(field, ("autocast",), "dtype", ("f32",), "is for 16 bits") for field in UNDER),
    *(
        Clash(
            field,
            ("autocast",),
            "fill",
            tuple(fill for fill in FILLS if fill not in AUTOCAST_FILLS),
            f"is for the fills {', '.join(AUTOCAST_FILLS)}",
        )
        for field in UNDER
    ),
    *(
        Clash(
            "state",
            (state,),
            "condition",
            tuple(name for name in ("", *CONDITIONS) if name not in may_take_place_in(state)),
            f"stands before one of {', '.join(may_take_place_in(state))}",
        )
        for state in STATES
    ),
)
# What has no part in the one has none in the other: no case is drawn with both
UNDRAWN = (
    Clash("bias", (True, LOW), "backward", (True,), "has no part in the gradient"),
    Clash("out", (True,), "backward", (True,), "has no part in the gradient"),
    Clash("out", (True,), "condition", INTO_NO_OUT, "is not given there"),
    Clash("out", (True,), "state", ("grad",), "is not given there"),
)


def bands_of(bits: int) -> tuple[int, ...]:
    """Those that are not all there is, in the order of seeds."""
    return tuple(span for span in BANDS if span < 2**bits - 1) or (1,)


def codes_in_words(bits: int) -> int:
    """The fewest codes that fill whole words: 8 of 4 bits in one, 32 of 3 bits in three."""
    return math.lcm(WORD_BITS, bits) // bits
