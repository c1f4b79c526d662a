"""A Backend: a kernel under test, and what it promises, as data."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gptq_fuzz.case.axes import (
    AUTOCAST_FILLS,
    AXES,
    BAD,
    BATCHED,
    CUT,
    FAR,
    FILLS,
    FILLS_OF,
    G_IDX_KINDS,
    LAYOUTS,
    MOST_CALLED_AGAIN,
    STARTS,
    STATES,
    STRIDED,
    TURNED,
    USUAL_CONDITIONS,
    WHOLE_GROUP,
    ZERO_KINDS,
    Axis,
    codes_in_words,
    may_take_place_in,
)
from gptq_fuzz.case.case import Case, Token

# Field of Limits -> what it may list; two axes may share one
VALUES = {
    name: tuple(dict.fromkeys(v for axis in AXES if axis.listed == name for v in axis.values))
    for name in dict.fromkeys(axis.listed for axis in AXES)
}


@dataclass(frozen=True)
class Limits:
    """The legal inputs of a kernel. Inside, it must be right; outside, it must raise.

    Each field lists the values of one axis of the Case line, simplest first. `group_sizes` None
    stands for any. There are at least `m_least` rows of x and `groups_least` groups; N and K are
    multiples of `n_multiple`, `k_multiple`, with `whole_groups` K of the group size too; with
    `scales_as_x` scales come in the dtype of x. What may be `strided` may be cut out of a wider
    tensor, or transposed, too. `bad` names the invalid operands that it promises to refuse: leave
    out only what its signature cannot show it. `refuses_outside` is False for a kernel that cannot
    see what lies outside (a plain callable). `conditions` are those that it promises to be right
    under, beside none. `out` is what the Backend's `accepts_out` says. `tokens` are axes of the
    kernel's own. A drawn problem has at most `max_tiles` blocks of `tile` (rows, columns,
    reduction): what one call may cost.
    """

    bits: tuple[int, ...] = (8, 4, 2)
    dtypes: tuple[str, ...] = ("f16",)
    scales_dtypes: tuple[str, ...] = ("sf16",)
    formats: tuple[str, ...] = ("v1",)
    g_idx: tuple[str, ...] = G_IDX_KINDS[:-1]
    zeros: tuple[str, ...] = ZERO_KINDS[:-1]
    group_sizes: tuple[int, ...] | None = None
    layouts: tuple[str, ...] = LAYOUTS
    ranks: tuple[int, ...] = (2,)
    strided: tuple[str, ...] = ()
    starts: tuple[int | str, ...] = STARTS
    fills: tuple[str, ...] = FILLS
    bias: bool = False
    out: bool = False
    backward: bool = False
    m_least: int = 0
    n_multiple: int = 1
    k_multiple: int = 1
    groups_least: int = 1
    whole_groups: bool = False
    scales_as_x: bool = False
    conditions: tuple[str, ...] = USUAL_CONDITIONS
    bad: tuple[str, ...] = BAD
    refuses_outside: bool = True
    tokens: tuple[Token, ...] = ()
    tile: tuple[int, int, int] = (64, 64, 128)
    max_tiles: int = 64

    def __post_init__(self) -> None:
        for name, known in VALUES.items():
            listed = getattr(self, name)
            for value in () if isinstance(listed, bool) else listed:
                if value not in known:
                    raise ValueError(f"Limits: {name} are of {known}, not {value!r}")
        implied = {kind[name] for kind in (CUT, TURNED) for name in self.strided if name in kind}
        taken = {*self.strided, *implied}
        ordered = tuple(name for name in STRIDED if name in taken)
        object.__setattr__(self, "strided", ordered)
        if self.layouts and set(self.layouts) <= set(FILLS_OF):
            shared = {fill for layout in self.layouts for fill in FILLS_OF[layout]}
            fills = tuple(fill for fill in self.fills if fill in shared)
            object.__setattr__(self, "fills", fills)

    @classmethod
    def from_json(cls, data: dict) -> Limits:
        """Rebuilt from what `dataclasses.asdict` gave, after a trip through JSON."""
        fields = {
            key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
        }
        fields["tokens"] = tuple(
            Token(t["name"], tuple(t["values"]), t["optional"]) for t in data["tokens"]
        )
        return cls(**fields)

    def tiles(self, m: int, n: int, k: int) -> int:
        """Blocks of `tile` that cover one problem."""
        return math.prod(
            -(-max(size, 1) // side) for size, side in zip((m, n, k), self.tile, strict=True)
        )

    def layouts_of(self, rank: int) -> tuple[str, ...]:
        """The layouts that an x of this rank can have."""
        return tuple(name for name in self.layouts if rank > 2 or name not in BATCHED)

    @property
    def laid_out(self) -> tuple[int, ...]:
        """The ranks that a layout is for; one row alone has rank 1."""
        ranks = (rank for rank in self.ranks if rank != 1 or self.m_least <= 1)
        return tuple(rank for rank in ranks if self.layouts_of(rank))

    def units(self, word: int) -> tuple[int, int, int]:
        """The smallest (rows, columns, reduction) where `word` codes fill whole words."""
        return 1, math.lcm(word, self.n_multiple), math.lcm(word, self.k_multiple)

    def affords(self, m: int, n: int, k: int, word: int) -> bool:
        """Whether a problem may be drawn: within `max_tiles`, or no dearer than the smallest."""
        return self.tiles(m, n, k) <= max(self.max_tiles, self.tiles(*self.units(word)))

    def for_draws(self) -> Limits:
        """Less what no drawn problem in them has: layouts, ranks, starts, scales, conditions."""
        units = [max(self.units(codes_in_words(bits))) for bits in self.bits]
        is_cast = set(self.dtypes) - {"f32"} and set(self.fills) & set(AUTOCAST_FILLS)
        lacking = ["autocast"] * (not is_cast)
        lacking += ["calls500"] * (min(units) > MOST_CALLED_AGAIN)
        layouts = self.layouts_of(max(self.ranks))
        as_x = tuple(f"s{dtype}" for dtype in self.dtypes)
        return dataclasses.replace(
            self.without(lacking),
            layouts=tuple(
                name for name in layouts if set(self.fills) & set(FILLS_OF.get(name, self.fills))
            ),
            ranks=self.laid_out,
            starts=tuple(start for start in self.starts if start != FAR),
            scales_dtypes=as_x if self.scales_as_x else self.scales_dtypes,
        )

    def without(self, lacking: Sequence[str]) -> Limits:
        """Less these conditions, which the machine does not have."""
        left = tuple(name for name in self.conditions if name not in lacking)
        return dataclasses.replace(self, conditions=left)

    def of(self, axis: Axis) -> tuple:
        """The values of an axis that the kernel takes; of a set, what may be in it."""
        listed = getattr(self, axis.listed)
        if listed is True or listed is False:
            return axis.values if listed else axis.values[:1]
        if axis.field == "state":  # in which something that is promised too may take place
            return _states_within(tuple(listed))
        return ("", *listed) if axis.field == "condition" else listed

    def _allow(self, axis: Axis, value) -> bool:
        if axis.several:
            return set(value) <= set(self.of(axis))
        return axis.kind(value) in self.of(axis)

    def takes_groups(self, k: int, size: int) -> bool:
        """Whether K rows may be in groups of this size."""
        rows = k if size == WHOLE_GROUP else size
        return -(-k // rows) >= self.groups_least and not (self.whole_groups and k % rows)

    def fitted(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields of a case, changed as little as what hangs together here asks for: rows of x,
        K and groups, dtypes.
        """
        found = dict(fields, m=max(fields["m"], self.m_least))
        if self.scales_as_x:
            found["scales_dtype"] = f"s{fields['dtype']}"
        if not self.takes_groups(fields["k"], fields["group_size"]):
            word = codes_in_words(fields["bits"])
            found |= self._grouped(fields["k"], fields["group_size"], self.units(word)[2])
        return found

    def _grouped(self, k: int, size: int, unit: int) -> dict[str, int]:
        """Smaller groups where any are taken, else more rows."""
        if self.group_sizes is None:
            rows = min(k if size == WHOLE_GROUP else size, max(k // self.groups_least, 1))
            whole = (size for size in range(rows, 0, -1) if k % size == 0)
            return {"group_size": next(whole) if self.whole_groups else rows}
        sizes = [rows for rows in self.group_sizes if rows != WHOLE_GROUP]
        rows = size if size != WHOLE_GROUP or not sizes else min(sizes)
        unit = math.lcm(unit, rows) if self.whole_groups else unit
        least = max(k, (self.groups_least - 1) * rows + 1)
        return {"group_size": rows, "k": -(-least // unit) * unit}

    def violations(self, case: Case) -> list[str]:
        """The axes of `case` that lie outside; empty where the kernel must be right."""
        found = [axis.field for axis in AXES if not self._allow(axis, getattr(case, axis.field))]
        is_listed = self.group_sizes is None or case.group_size in self.group_sizes
        if not is_listed or not self.takes_groups(case.k, case.group_size):
            found.append("group_size")
        if self.scales_as_x and case.scales_dtype != f"s{case.dtype}":
            found.append("scales_dtype")
        found += ["m"] * (case.m < self.m_least)
        found += ["n"] * (case.n % self.n_multiple > 0) + ["k"] * (case.k % self.k_multiple > 0)
        return found


@functools.cache  # asked for each case
def _states_within(conditions: tuple[str, ...]) -> tuple[str, ...]:
    """None, and those of these in which another one may take place."""
    met = (name for name in STATES if name in conditions)
    return ("", *(name for name in met if set(may_take_place_in(name)) & set(conditions)))


@dataclass(frozen=True)
class Numerics:
    """How a kernel rounds; the bound follows from this. Formats are "f16", "bf16", "f32", "x".

    "x" is the dtype of x. `weights` lists the formats that (q - z) * s may be rounded to before it
    is multiplied, all weights of a call alike ("exact": not at all, which is always allowed);
    `folds_zero`: s * sum(x q) - s * z * sum(x) is allowed, codes and zero-points counted from 0 or
    from c = 2^(bits-1); `zero` is "int", or "float" where (c - z) * s is stored in x's dtype and
    added to (q - c) * s; `scaled_zero`: s * z is rounded to the weights' format before it is
    subtracted from s * q; `aligned_bits`: the bits that are kept where the products of a block are
    aligned to the largest (None: as many as tensor cores keep); `bias_after`: the result is rounded
    before the bias is added, False: it is added in the accumulator, None: either.
    """

    weights: tuple[str, ...] = ("exact", "x")
    folds_zero: bool = True
    zero: str = "int"
    scaled_zero: bool = False
    accumulator: str = "f32"
    partial: str = "f32"
    aligned_bits: int | None = None
    tf32: bool = False
    bias_after: bool | None = None

    def __post_init__(self) -> None:
        if self.zero not in ("int", "float"):
            raise ValueError(f'Numerics: zero must be "int" or "float", not {self.zero!r}')


@dataclass(frozen=True)
class Backend:
    """A kernel under test.

    `matmul(x=, qweight=, qzeros=, scales=, g_idx=, bias=, bits=, group_size=, checkpoint_format=)`
    returns out [..., N]; the kernel's own `limits.tokens` arrive as keywords, text by name. With
    `accepts_out` some calls have `out=` too, [..., N] and full of NaN: it is written and returned.
    Where weights are rearranged once, give `prepare(**weights)`, which returns a state, and
    `run(state, x=)` instead. `gradient(grad=, **weights)` returns [..., K] and serves `bwd` cases.
    `operands` "codes": instead of `qweight` and `qzeros` come `codes` [K, N] uint8 and `zeros`
    [G, N] int32, and no `checkpoint_format`, for a kernel whose adapter packs them as it likes;
    with zero-points `zflt` they come in the dtype of `scales`.
    `start(device)` builds or loads what the kernel needs there, before anything is timed, and
    raises where it cannot; `skip(case, device)` returns a reason code where this machine cannot
    judge the case. `devices` are those that it runs on; `deterministic` promises the same bits for
    the same call. `operator(x=, **weights)` returns (operator, arguments): the registered operator
    that a call comes down to, for the condition `opcheck`.
    """

    name: str
    limits: Limits = field(default_factory=Limits)
    numerics: Numerics = field(default_factory=Numerics)
    matmul: Callable[..., Any] | None = None
    prepare: Callable[..., Any] | None = None
    run: Callable[..., Any] | None = None
    gradient: Callable[..., Any] | None = None
    accepts_out: bool = False
    deterministic: bool = False
    operator: Callable[..., tuple[Any, tuple]] | None = None
    devices: tuple[str, ...] = ("cuda", "cpu")
    start: Callable[[str], None] | None = None
    skip: Callable[[Case, str], str | None] | None = None
    operands: str = "packed"
    plain: Callable[..., Any] | None = field(default=None, repr=False)  # see `from_callable`

    def __post_init__(self) -> None:
        if (self.matmul is None) == (self.run is None):
            raise TypeError(f"Backend {self.name!r} wants matmul, or prepare and run; not both")
        if self.operands not in ("packed", "codes"):
            raise ValueError(
                f'Backend {self.name!r}: operands are "packed" or "codes", not {self.operands!r}'
            )
        if (self.prepare is None) != (self.run is None):
            raise TypeError(f"Backend {self.name!r} wants prepare and run together")
        if bool(self.limits.out) != self.accepts_out:
            limits = dataclasses.replace(self.limits, out=self.accepts_out)
            object.__setattr__(self, "limits", limits)
        if "opcheck" in self.limits.conditions and self.operator is None:
            raise TypeError(f"Backend {self.name!r} wants an operator for the condition opcheck")

    def call(self, case: Case, left, weights: dict, out=None):
        """The kernel's own answer to one problem, as it comes."""
        options = dict(case.extra)
        if case.backward:
            return self.gradient(grad=left, **weights, **options)
        return self.multiply(left, weights, out, **options)

    def multiply(self, x, weights: dict, out=None, **options):
        """x [..., K] times the layer, written into `out` where there is one."""
        options |= {} if out is None else {"out": out}
        if self.run is not None:
            return self.run(self.prepare(**weights), x=x, **options)
        return self.matmul(x=x, **weights, **options)


# Of a plain callable
KEYWORDS = ("x", "qweight", "qzeros", "scales", "g_idx", "bits")
PLAIN_LIMITS = Limits(bad=(), refuses_outside=False)


def from_callable(function: Callable[..., Any], name: str) -> Backend:
    """A plain `f(x=, qweight=, qzeros=, scales=, g_idx=, bits=)` as a Backend."""

    def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
        return function(x=x, qweight=qweight, qzeros=qzeros, scales=scales, g_idx=g_idx, bits=bits)

    return Backend(name=name, limits=PLAIN_LIMITS, matmul=matmul, plain=function)
