"""A Case: one problem as plain values, printed as the one line of text that rebuilds it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass

from gptq_fuzz.case.axes import (
    AXES,
    BAD,
    BITS,
    BY_FIELD,
    CLASHES,
    MOVED_ALONE,
    STRIDED,
    UNDER,
    WHOLE_GROUP,
    WORD_BITS,
    Axis,
    codes_in_words,
)

LARGEST = {"group_size": 2**31 - 1, "layout_amount": 2**40}


@dataclass(frozen=True)
class Token:
    """A token that a Backend adds to the line: `name` followed by one of `values`.

    Drawn cases always have it unless it is `optional`.
    """

    name: str
    values: tuple[str, ...]
    optional: bool = True


@dataclass(frozen=True)
class Case:
    """One problem: x [M, K] times a GPTQ weight [K, N] in ceil(K / group_size) groups.

    `layout` is one of "", "pad<n>", "xt", "xtp<n>", "xts<n>", "off<n>", "bcast", "kcast",
    "step<n>", "leap<n>", "scalar", "lap<n>", "lapt<n>", "cut<n>", "alt", "swap", "expand"; every
    operand begins `start` bytes off an aligned address ("w4": all but x, "z4": `qzeros` alone);
    with `out` the call is handed a tensor for its result; `bad` names the invalid one; `condition`
    names what surrounds the call, `state` what surrounds this; `extra` holds (name, value) pairs of
    a Backend's own tokens. Raises ValueError when two values contradict each other.
    """

    m: int
    n: int
    k: int
    bits: int
    group_size: int = WHOLE_GROUP
    g_idx: str = "seq"
    zeros: str = "zall"
    checkpoint_format: str = "v1"
    dtype: str = "f16"
    scales_dtype: str = "sf16"
    layout: str = ""
    rank: int = 2
    strided: tuple[str, ...] = ()
    start: int | str = 0
    bias: bool | str = False
    out: bool = False
    backward: bool = False
    fill: str = "exact"
    bad: str = ""
    seed: int = 0
    state: str = ""
    condition: str = ""
    extra: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        ordered = tuple(name for name in STRIDED if name in self.strided)
        object.__setattr__(self, "strided", ordered)
        for problem in self._contradictions():
            raise ValueError(f"{problem} in case {self}")

    def _contradictions(self) -> Iterable[str]:
        if self.bits not in BITS:
            yield f"bits must be one of {', '.join(map(str, sorted(BITS)))}, not {self.bits}"
            return
        for name, size in (("n", self.n), ("k", self.k)):
            if size < 1 or size % self.unit:
                yield (
                    f"{name} must be a positive multiple of {self.unit} "
                    f"(codes in a word), not {size}"
                )
        if self.m < 0 or self.seed < 0:
            yield f"m and seed must not be negative, got m{self.m} and s{self.seed}"
        if self.rank == 1 and self.m != 1:
            yield f"dim1 holds one row, not {self.m}"
        if self.group_size != WHOLE_GROUP and self.group_size < 1:
            yield f"a group holds at least one row, not {self.group_size}"
        for name, most in LARGEST.items():
            if getattr(self, name) > most:
                yield f"{name} must be at most {most}, not {getattr(self, name)}"
        if self.condition and self.bad:
            yield f"{self.condition} is for valid operands, not for bad{self.bad}"
        if self.state not in BY_FIELD["state"].values:
            yield f"{self.state} stands before no other condition"
        for clash in CLASHES:
            if clash.is_met(vars(self)):
                yield f"{getattr(self, clash.one)} {clash.why}"

    @property
    def unit(self) -> int:
        """Codes that fill whole words: K and N are multiples of it."""
        return codes_in_words(self.bits)

    @property
    def unit_words(self) -> int:
        """Those words: one, or three of 3 bits."""
        return self.unit * self.bits // WORD_BITS

    @property
    def maxq(self) -> int:
        return 2**self.bits - 1

    @property
    def rows_per_group(self) -> int:
        return self.k if self.group_size == WHOLE_GROUP else self.group_size

    @property
    def groups(self) -> int:
        """Rows of `scales`; more than K rows fill where `g_idx` leaves groups out."""
        filled = -(-self.k // self.rows_per_group)
        more = {"shard": SHARD_STARTS + SHARD_LACKS, "begun": SHARD_STARTS + 1}
        more |= dict.fromkeys(("odd", "holes"), filled + 1)
        return filled + more.get(self.g_idx, 0)

    @property
    def layout_kind(self) -> str:
        return BY_FIELD["layout"].kind(self.layout)

    @property
    def layout_amount(self) -> int:
        return int(self.layout[len(self.layout_kind) :] or 0)

    def bytes_off(self, name: str) -> int:
        """How far from an aligned address the operand of this name begins; `left` is x."""
        text = str(self.start)
        which, number = text[:1], text.lstrip("".join(("w", *MOVED_ALONE)))
        stays = name == "left" if which == "w" else name != MOVED_ALONE.get(which, name)
        return 0 if stays else int(number)

    @property
    def reduction(self) -> int:
        """Length of the sum behind one element: K, or N for the gradient with respect to x."""
        return self.n if self.backward else self.k

    @property
    def columns(self) -> int:
        return self.k if self.backward else self.n

    def replace(self, **changes) -> Case:
        return dataclasses.replace(self, **changes)

    def __str__(self) -> str:
        tokens = [f"m{self.m}", f"n{self.n}", f"k{self.k}", f"b{self.bits}"]
        tokens.append("gall" if self.group_size == WHOLE_GROUP else f"g{self.group_size}")
        for axis in AXES[1 : -len(UNDER)]:
            tokens += self._tokens(axis)
        tokens += [f"bad{self.bad}"] * bool(self.bad) + [f"s{self.seed}"] * bool(self.seed)
        tokens += filter(None, (self.state, self.condition))
        return "-".join(tokens + [name + value for name, value in self.extra])

    def _tokens(self, axis: Axis) -> list[str]:
        value = getattr(self, axis.field)
        if axis.several:
            return list(value)
        return [axis.token(value)] * (value != axis.values[0])

    @classmethod
    def parse(cls, line: str, tokens: Iterable[Token] = ()) -> Case:
        """Rebuild the Case that printed `line`; `tokens` are those of the Backend at hand.

        Raises ValueError naming the token that is wrong and what would be right.
        """
        fields: dict = {"strided": (), "extra": ()}
        declared = sorted(tokens, key=lambda token: -len(token.name))
        last, seen = -1, set()
        for text in line.strip().split("-"):
            place, field, value = _read_token(text, declared, line)
            if field == "condition" and field in fields and "state" not in fields:
                fields["state"], seen = fields[field], seen - {field}  # the last is the condition
            once = {"strided": value, "extra": value[0] if field == "extra" else ""}.get(
                field, field
            )
            if place < last or once in seen:
                raise ValueError(
                    f"token {text!r} of case {line!r} is repeated or out of order: {_ORDER}"
                )
            last = place
            seen.add(once)
            fields[field] = fields[field] + (value,) if field in _MANY else value
        missing = [name for name in ("m", "n", "k", "bits", "group_size") if name not in fields]
        if missing:
            raise ValueError(f"case {line!r} lacks {', '.join(missing)}; for example {_EXAMPLE}")
        return cls(**fields)


def decoy_of(case: Case) -> Case:
    """The same shapes with other data: what is called in between to see whether anything leaks."""
    return case.replace(seed=case.seed + 1)


# Layers with groups that no row belongs to: before those of a shard, after them
SHARD_STARTS, SHARD_LACKS = 2, 1
_EXAMPLE = "m17-n64-k96-b4-g32-act-pad8-randn-s7"
_MANY = ("strided", "extra")
_NUMBER = "(0|[1-9][0-9]*)"


def _int_after(letters: int):
    return lambda text: int(text[letters:])


_NAMED = [(axis.field, axis.pattern, axis.read) for axis in AXES]
# (field, pattern, reader), in canonical order
_GRAMMAR = (
    ("m", f"m{_NUMBER}", _int_after(1)),
    ("n", f"n{_NUMBER}", _int_after(1)),
    ("k", f"k{_NUMBER}", _int_after(1)),
    _NAMED[0],  # bits
    ("group_size", "gall|g[1-9][0-9]*", lambda t: WHOLE_GROUP if t == "gall" else int(t[1:])),
    *_NAMED[1 : -len(UNDER)],
    ("bad", "|".join("bad" + name for name in BAD), lambda text: text[3:]),
    ("seed", f"s{_NUMBER}", _int_after(1)),
    _NAMED[-1],  # condition
)
_ORDER = "the order is " + ", ".join(field for field, _, _ in _GRAMMAR) + ", Backend's tokens"


def _read_token(text: str, declared: list[Token], line: str) -> tuple[int, str, object]:
    for place, (field, pattern, read) in enumerate(_GRAMMAR):
        if re.fullmatch(pattern, text):
            return place, field, read(text)
    for token in declared:
        if text.startswith(token.name) and text[len(token.name) :] in token.values:
            return len(_GRAMMAR), "extra", (token.name, text[len(token.name) :])
    wanted = _closest_rule(text, declared)
    raise ValueError(f"token {text!r} of case {line!r} is unknown; {wanted}")


def _closest_rule(text: str, declared: list[Token]) -> str:
    for token in declared:
        if text.startswith(token.name):
            return f"{token.name} takes one of {', '.join(token.values)}"
    rules = [pattern.replace(_NUMBER, "<number>") for _, pattern, _ in _GRAMMAR]
    near = [rule for rule in rules if text and rule.startswith(text[0])]
    return f"{text[:1]}... is one of: {'; '.join(near)}" if near else f"for example {_EXAMPLE}"
