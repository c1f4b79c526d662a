"""A history: what an engine does with layers, one after another, as a line of steps.

`load-0-n8-k16-b4-g8-act/call-0-m1/write-0-scales-word/again-0`; docs/line.md lists the steps.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from gptq_fuzz.case.axes import BY_FIELD, FAR, STATES
from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case

BETWEEN = "/"  # of two steps of a line
OPERANDS = ("qweight", "qzeros", "scales", "g_idx")
WRITTEN = (*OPERANDS, "bias")
ALL = "all"
EXTENTS = (ALL, "row", "word", "swap")
INFERENCE = "infer"
CHANGES = ("relu", "add")  # of a result, in place
REORDERED = ("seq", "act", "rev")  # kinds of g_idx that stay such when their rows change places
WAYS = ("deepcopy", "pickle")  # to a second object that equals a tensor
# Conditions that one step may have and the next one not: what a layer keeps is right in both
DEFAULTS = ("defbf16", "deff16", "deff64")  # dtypes, of which there is one at a time
AMBIENT = STATES
PARAMETERS = "param"  # what the tensors of a layer are, from its load on
# Of the x of a call, with its numbers; else they are what `load` says
FORM = ("dtype", "layout", "rank", "start", "fill")
PARTS = ("head", "tail", "step", "one")  # of an x; all but one begin where it does
LEAST_TO_PART = 3  # rows, of which halves differ
_LAYER, _NUMBER = "-(?P<layer>[0-9]+)", "(0|[1-9][0-9]*)"
_SEED, _TIMES = f"(-s(?P<seed>{_NUMBER}))?", "(-x(?P<times>[1-9][0-9]*))?"
_OPERAND, _WRITTEN = (f"-(?P<operand>{'|'.join(names)})" for names in (OPERANDS, WRITTEN))
_ROWS = f"-m(?P<rows>{_NUMBER})"
# What begins w4 is every operand but x
_FORM = "".join(f"(-(?!atw)(?P<{field}>{BY_FIELD[field].pattern}))?" for field in FORM)
# Of a layer that shares an operand which says nothing of these
_OTHER = "(-n(?P<n>[1-9][0-9]*))?(-k(?P<k>[1-9][0-9]*))?(-b(?P<bits>[1-9]))?"
# One of a call's operators: counted from the first, or of as many as the last whole call made
_PLACE = "-(op(?P<operator>[1-9][0-9]*)(of(?P<parts>[1-9][0-9]*))?|last(?P<from_last>[1-9][0-9]*))"
THREAD = "thread"  # the operators are those of threads of the kernel's own
OWN = "own"  # the layer's tensor is written to be invalid, and put back
OF_NUMBERS = ("gidx", "neg")  # what it may be so
_UNDER = f"(?P<conditions>(-({'|'.join(AMBIENT)}))*)"
POOL = "pool"  # the call is made by a second thread of the program, the same one each time
_BY = f"(-(?P<by>{POOL}))?"
_GRAMMAR = {  # verb -> what follows it
    "load": f"{_LAYER}-(?P<tokens>n.+)",
    "loads": "-(?P<count>[1-9][0-9]*)-(?P<tokens>n.+)",
    "experts": "-(?P<count>[1-9][0-9]*)-(?P<tokens>n.+)",
    "copy": f"{_LAYER}-(?P<source>[0-9]+)",
    "share": f"{_LAYER}-(?P<source>[0-9]+){_OPERAND}{_OTHER}{_SEED}",
    "twin": f"{_LAYER}-(?P<source>[0-9]+)-(?P<way>{'|'.join(WAYS)})",
    "call": f"{_LAYER}{_ROWS}{_FORM}{_SEED}{_UNDER}{_BY}{_TIMES}",
    "calls": f"-(?P<count>[1-9][0-9]*){_ROWS}{_FORM}{_UNDER}",
    "threads": f"-(?P<count>[1-9][0-9]*){_ROWS}{_FORM}{_UNDER}",
    "again": f"{_LAYER}{_UNDER}{_BY}{_TIMES}",
    "part": f"{_LAYER}-(?P<part>{'|'.join(PARTS)})",
    "decode": f"{_LAYER}{_SEED}{_TIMES}",
    "grad": f"{_LAYER}{_ROWS}{_FORM}{_SEED}",
    "track": f"{_LAYER}{_ROWS}{_FORM}{_SEED}",
    "feed": f"{_LAYER}-(?P<source>[0-9]+){_ROWS}{_SEED}-(?P<change>{'|'.join(CHANGES)})",
    "x": "-s(?P<seed>[0-9]+)",
    "write": f"{_LAYER}{_WRITTEN}-(?P<extent>{'|'.join(EXTENTS)}){_SEED}{_TIMES}",
    "replace": f"{_LAYER}{_WRITTEN}{_SEED}",
    "renew": f"{_LAYER}{_WRITTEN}{_SEED}",
    "move": f"{_LAYER}-(?P<operand>{'|'.join((ALL, *WRITTEN))})",
    "stop": f"{_LAYER}-op(?P<operator>[1-9][0-9]*){_SEED}",
    "free": _LAYER,
    "drop": f"{_LAYER}{_UNDER}",
    "leave": f"{_LAYER}{_PLACE}",
    "refuse": f"{_LAYER}-bad(?P<bad>[a-z]+)(-(?P<own>{OWN}))?",
    "break": f"{_LAYER}{_ROWS}{_FORM}{_PLACE}(-(?P<thread>{THREAD})|{_UNDER})",
    "interrupt": f"{_LAYER}{_ROWS}{_FORM}{_PLACE}(-(?P<thread>{THREAD})|{_UNDER})",
    "wait": "-(?P<milliseconds>[1-9][0-9]{0,3})",
}
BROKEN = ("break", "interrupt")
AT_OPERATORS = (*BROKEN, "leave")
ALL_AT_ONCE = ("calls", "threads")
WHOLE = ("call", "calls", "again")  # calls of which nothing is broken off
CALLS = ("call", "again", "refuse", *BROKEN, "track")
GRADIENTS = ("grad", "track")
LOADS = ("load", "loads", "experts")
WITH_NEW_X = ("call", *BROKEN, "track", *ALL_AT_ONCE)


@dataclass(frozen=True)
class Step:
    """One step. `case` is its layer with the rows of x that it, or a call before it, is asked for.

    `layer` is the number of a layer, `count` that of layers from 0 on, each with its number added
    to the seed of its data; `source` is the layer that is copied, or one of whose operands
    the layer has; `seed` is that of new numbers;
    `conditions` are what the kernel is called in, or prepares its weights in, the first one
    outside, or PARAMETERS of `load`; the other fields are what only some verbs have.
    """

    verb: str
    text: str
    case: Case
    layer: int = 0
    source: int = 0
    count: int = 1
    rows: int = 1
    seed: int = 0
    times: int = 1
    operand: str = ""
    part: str = ""
    extent: str = ALL
    bad: str = ""
    own: str = ""  # OWN where the invalid operand is the layer's own tensor
    change: str = ""
    way: str = ""
    conditions: tuple[str, ...] = ()
    operator: int = 0  # the one that raises, or before which is collected: the first is 1
    parts: int = 0  # of as many parts of a call, the last operator of this one; 0: no parts
    from_last: int = 0  # the last one is 1
    thread: str = ""  # THREAD where the operators are not the caller's
    by: str = ""  # POOL where another thread than the first calls
    milliseconds: int = 0


def parse_history(line: str, limits: Limits) -> list[Step]:
    """The steps of a line, for a kernel of these limits.

    Raises ValueError for a step that cannot be read, or cannot follow those before it.
    """
    return list(_Reader(limits).read(line))


class _Reader:
    """What the steps so far have led to: cases of the layers, and what the last x fits."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self.layers: dict[int, Case] = {}
        self.freed: set[int] = set()  # layers whose operands are gone
        self.orders: dict[int, int] = {}  # the number of the tensor that a layer's g_idx lies in
        self.parted: set[int] = set()  # such tensors, of which a layer has a part alone
        self.reordered: set[int] = set()  # and those that are no longer what cases say
        self._numbers = itertools.count()
        self.x: Case | None = None
        self.inferred = ""  # the first step in inference mode
        self.is_called = False  # whether a call was whole

    def read(self, line: str) -> Iterator[Step]:
        for text in line.strip().split(BETWEEN):
            try:
                yield self._step(text)
            except ValueError as problem:
                raise ValueError(f"step {text!r} of {line!r}: {problem}") from problem

    def _step(self, text: str) -> Step:
        verb = text.split("-")[0]
        if verb not in _GRAMMAR:
            raise ValueError(f"unknown; one of {', '.join(_GRAMMAR)} is")
        match = re.fullmatch(verb + _GRAMMAR[verb], text)
        if match is None:
            raise ValueError(f"{verb} takes other words, see docs/line.md")
        given = {name: value for name, value in match.groupdict().items() if value is not None}
        tokens = given.pop("tokens", "")
        form = {name: BY_FIELD[name].read(given.pop(name)) for name in FORM if name in given}
        conditions = tuple(given.pop("conditions", "").split("-")[1:])
        values = {name: int(value) if value.isdigit() else value for name, value in given.items()}
        values["conditions"] = conditions
        values["case"] = self._case(verb, tokens, form, values)
        self._require_no_gradient_after_inference(verb, values["conditions"])
        if "by" in values:
            self._require_two_threads()
        if INFERENCE in values["conditions"]:
            self.inferred = self.inferred or text
        if verb in AT_OPERATORS and (values.get("parts") or values.get("from_last")):
            self._require_counted(values)
        self.is_called = self.is_called or verb in WHOLE
        return Step(verb, text, **values)

    def _case(self, verb: str, tokens: str, form: dict, values: dict) -> Case:
        """The step's case, after what the step changes."""
        layer, conditions = values.get("layer", 0), values["conditions"]
        if verb == "load":
            case = self._of_tokens(tokens)
            values["conditions"] = (case.condition,) if case.condition else ()
            case = self._within(case, values["conditions"], (*AMBIENT, PARAMETERS))
            case = case.replace(condition="")
            self._put({layer: case})
        elif verb in LOADS:
            case = self._within(self._of_tokens(tokens))
            self._put({n: case.replace(seed=case.seed + n) for n in range(values["count"])})
        elif verb in ALL_AT_ONCE:
            layers = [self._loaded(number) for number in range(values["count"])]
            asked = [_asked(case, values["rows"], form) for case in layers]
            if verb == "threads":
                self._require_threads(asked, conditions)
            self.x = [self._within(case, conditions) for case in asked][-1]
            return self.x
        elif verb in ("copy", "share", "twin"):
            self._put_beside(verb, layer, values)
        elif verb in ("drop", "leave"):
            case = self._within(self._loaded(layer), conditions)
            del self.layers[layer]
            return case
        elif verb == "x":
            if self.x is None:
                raise ValueError("there is no x yet")
            return self.x
        elif verb == "wait":
            return self._loaded(min(self.layers, default=0))
        return self._of_layer(verb, self._loaded(layer), form, values)

    def _of_tokens(self, tokens: str) -> Case:
        case = Case.parse(f"m1-{tokens}", self.limits.tokens)
        return case.replace(m=max(1, self.limits.m_least))

    def _of_layer(self, verb: str, case: Case, form: dict, values: dict) -> Case:
        layer, conditions = values.get("layer", 0), values["conditions"]
        if verb in WITH_NEW_X:
            self.x = self._within(_asked(case, values["rows"], form), conditions)
        elif verb == "again":
            self.x = self._within(self._taking_x(case), conditions)
        elif verb == "feed":
            self.x = self._within(self._fed(case, self._loaded(values["source"]), values["rows"]))
            return self.x
        elif verb == "part":
            return self._within(part_of(self._taking_x(case), values["part"]))
        elif verb == "decode":
            return self._within(self._of_bare_rows(case))
        elif verb == "grad":
            return self._with_gradient(_asked(self._there(layer), values["rows"], form))
        elif verb == "refuse":
            if values["bad"] not in self.limits.bad:
                raise ValueError(f"the kernel does not promise to refuse bad{values['bad']}")
            if "own" in values:
                if values["bad"] not in OF_NUMBERS or case.g_idx == "none":
                    raise ValueError(f"g_idx alone is written to be {' or '.join(OF_NUMBERS)}")
                self._require_whole(layer, "g_idx")
            return self._there(layer).replace(bad=values["bad"])
        elif verb == "stop":
            return case.replace(seed=case.seed + values.get("seed", 0) + 1)
        elif verb == "free":
            self.freed.add(layer)
        elif verb == "move":
            self._require_movable(self._there(layer), values["operand"])
            self._require_whole(layer, values["operand"])
        elif verb in ("write", "replace", "renew"):
            self._require_changeable(self._there(layer), values["operand"])
            self._require_whole(layer, values["operand"])
            if values["operand"] == "g_idx":
                self._note_order(layer, verb != "write", is_reordered=True)
        return self.x if verb in CALLS else case

    def _put(self, loaded: dict[int, Case]) -> None:
        self.layers |= loaded
        self.freed -= set(loaded)
        for layer in loaded:
            self._note_order(layer, is_another=True)

    def _put_beside(self, verb: str, layer: int, values: dict) -> None:
        """A layer that has something of another one."""
        source, is_part = values["source"], "k" in values
        order = self.orders.get(source)
        is_reordered = order in self.reordered
        if verb == "copy":
            case = self._loaded(source)
        elif verb == "twin":
            case = self._twin(layer, source)
        else:
            case = self._sharing(self._there(source), values)
        if is_part and (is_reordered or layer == source):
            raise ValueError("the first rows of a g_idx in order are another layer's")
        self._put({layer: case})
        if values.get("operand") == "g_idx":
            self.orders[layer] = order
            self.parted |= {order} if is_part else set()
        elif verb != "share" and is_reordered:
            self._note_order(layer, is_reordered=True)

    def _note_order(self, layer: int, is_another=False, is_reordered=False) -> None:
        """The layer's g_idx is another tensor, or has other numbers."""
        if is_another:
            self.orders[layer] = next(self._numbers)
        self.reordered |= {self.orders[layer]} if is_reordered else set()

    def _loaded(self, layer: int) -> Case:
        if layer not in self.layers:
            raise ValueError(f"layer {layer} is not loaded")
        return self.layers[layer]

    def _there(self, layer: int) -> Case:
        """A loaded layer whose operands are there."""
        case = self._loaded(layer)
        if layer in self.freed:
            raise ValueError(f"the operands of layer {layer} were freed")
        return case

    def _twin(self, layer: int, source: int) -> Case:
        case = self._there(source)
        if layer == source or case.start == FAR or self.orders[source] in self.parted:
            raise ValueError("a twin is another layer, and a copy of all that lies before it")
        return case

    def _taking_x(self, case: Case) -> Case:
        """The layer's case with the last x. Raises ValueError where that cannot be."""
        x = self.x
        if x is None or x.k != case.k:
            raise ValueError("the x of the call before does not fit this layer")
        return _asked(case, x.m, {name: getattr(x, name) for name in FORM})

    def _sharing(self, source: Case, values: dict) -> Case:
        """Another layer beside its source. Raises ValueError where that lacks the operand, or
        no layer of these columns and bits has it.
        """
        if values["operand"] == "g_idx" and source.g_idx == "none":
            raise ValueError("there is no g_idx to share")
        other = {name: values.pop(name) for name in ("n", "k", "bits") if name in values}
        if other and values["operand"] != "g_idx":
            raise ValueError("layers of other columns or bits have nothing in common but g_idx")
        if "k" in other and not (other["k"] < source.k and source.g_idx == "seq"):
            raise ValueError(
                "the first rows of a g_idx in order are another layer's, of fewer rows"
            )
        return self._within(source.replace(seed=source.seed + values.get("seed", 0) + 1, **other))

    def _fed(self, case: Case, source: Case, rows: int) -> Case:
        """The layer's case. Raises ValueError where no result of the source can be its x."""
        self._within(source.replace(m=rows))
        alike = source.n == case.k and source.rank == case.rank and source.dtype == case.dtype
        if not alike or case.layout or case.start:
            raise ValueError("a result of the one layer is no x of the other")
        return case.replace(m=rows)

    def _require_threads(self, cases: list[Case], conditions: tuple[str, ...]) -> None:
        if len({(case.k, *_form_of(case)) for case in cases}) > 1:
            raise ValueError("no x fits all of these layers")
        self._require_two_threads()
        if "grad" in conditions:
            raise ValueError("two threads do not ask for one gradient")

    def _require_two_threads(self) -> None:
        if "threads2" not in self.limits.conditions:
            raise ValueError("outside the kernel's limits: condition")

    def _require_no_gradient_after_inference(self, verb: str, conditions: tuple[str, ...]) -> None:
        if self.inferred and (verb in GRADIENTS or "grad" in conditions):
            raise ValueError(
                f"no gradient may follow {self.inferred!r}: "
                "torch refuses one to what a kernel keeps of inference mode"
            )

    def _of_bare_rows(self, case: Case) -> Case:
        """The fewest rows that are taken. Raises ValueError for an x that is not just these."""
        if case.layout or case.start:
            raise ValueError("rows of a layer of this layout or start are no tensors of their own")
        return case.replace(m=max(1, self.limits.m_least))

    def _with_gradient(self, case: Case) -> Case:
        backward = self._within(case).replace(backward=True)
        if outside := self.limits.violations(backward):
            raise ValueError(f"outside the kernel's limits: {', '.join(outside)}")
        return backward

    def _within(
        self, case: Case, conditions: tuple[str, ...] = (), taken: tuple[str, ...] = AMBIENT
    ) -> Case:
        if case.bad or case.backward or case.state or not set(conditions) <= set(taken):
            raise ValueError("a layer has no bad operand and no gradient, nor such a condition")
        if case.condition not in ("", *conditions):
            raise ValueError("only a layer that is loaded alone has a condition")
        _require_together(conditions)
        for condition in conditions or ("",):
            if outside := self.limits.violations(case.replace(condition=condition)):
                raise ValueError(f"outside the kernel's limits: {', '.join(outside)}")
        return case

    def _require_counted(self, values: dict) -> None:
        if not self.is_called:
            raise ValueError("no whole call before it says how many operators one makes")
        if values.get("operator", 0) > values.get("parts", math.inf):
            raise ValueError("there are no more parts than these")

    def _require_movable(self, case: Case, operand: str) -> None:
        if case.start == FAR:
            raise ValueError("what lies so far into its storage is not moved")
        if operand == "g_idx" and case.g_idx == "none":
            raise ValueError("there is no g_idx to move")
        if operand == "bias" and not case.bias:
            raise ValueError("the layer has no bias")

    def _require_whole(self, layer: int, operand: str) -> None:
        if operand in ("g_idx", ALL) and self.orders[layer] in self.parted:
            raise ValueError("several layers have parts of this g_idx")

    def _require_changeable(self, case: Case, operand: str) -> None:
        if operand == "g_idx" and (case.g_idx not in REORDERED or "act" not in self.limits.g_idx):
            raise ValueError("rows of this g_idx may not change places within the kernel's limits")
        if operand == "bias" and not case.bias:
            raise ValueError("the layer has no bias")


def _asked(layer: Case, rows: int, form: dict) -> Case:
    """The layer's case with so many rows of x in this form. Raises ValueError where x cannot be."""
    if layer.bias and form.get("dtype", layer.dtype) != layer.dtype:
        raise ValueError(f"the layer has a bias of {layer.dtype}, and x its dtype")
    return layer.replace(m=rows, **form)


def part_of(case: Case, part: str) -> Case:
    """The case of a call with half of the rows of an x. Raises ValueError where it is none."""
    if case.m < LEAST_TO_PART or case.rank != 2 or case.layout:
        raise ValueError(
            f"there are parts of {LEAST_TO_PART} rows and more, one after another, in a matrix"
        )
    rows = -(-case.m // 2)
    layout = {
        "head": "",
        "tail": f"off{(case.m - rows) * case.k}",
        "step": f"pad{case.k}",
        "one": "bcast",
    }
    return case.replace(m=rows, layout=layout[part])


def _form_of(case: Case) -> tuple:
    return tuple(getattr(case, name) for name in ("m", *FORM))


def is_same_x(one: Case | None, other: Case) -> bool:
    """Whether the x of a call serves another one: rows and form are the same."""
    return one is not None and one.k == other.k and _form_of(one) == _form_of(other)


def _require_together(conditions: tuple[str, ...]) -> None:
    kinds = ["default" if name in DEFAULTS else name for name in conditions]
    if len(set(kinds)) < len(kinds) or {"grad", INFERENCE} <= set(kinds):
        raise ValueError(f"no call is under {' and '.join(conditions)} at once")
