"""A history: what an engine does with layers, one after another, as a line of steps.

`load-0-n8-k16-b4-g8-act/call-0-m1/write-0-scales-word/again-0`; docs/line.md lists the steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case

BETWEEN = "/"  # of two steps of a line
OPERANDS = ("qweight", "qzeros", "scales", "g_idx")
WRITTEN = (*OPERANDS, "bias")
EXTENTS = ("all", "row", "word", "swap")
CHANGES = ("relu", "add")  # of a result, in place
REORDERED = ("seq", "act", "rev")  # kinds of g_idx that stay such when their rows change places
# Conditions that one step may have and the next one not: what a layer keeps is right in both. Not
# `infer`: tensors made in it may not meet a gradient afterwards, by torch's own rules.
AMBIENT = ("defbf16", "deff16", "deff64", "defmeta", "omp3", "det", "grad", "nograd", "autocast")
_LAYER, _NUMBER = "-(?P<layer>[0-9]+)", "(0|[1-9][0-9]*)"
_SEED, _TIMES = f"(-s(?P<seed>{_NUMBER}))?", "(-x(?P<times>[1-9][0-9]*))?"
_OPERAND, _WRITTEN = (f"-(?P<operand>{'|'.join(names)})" for names in (OPERANDS, WRITTEN))
_ROWS = f"-m(?P<rows>{_NUMBER})"
_UNDER = f"(-(?P<condition>{'|'.join(AMBIENT)}))?"
_GRAMMAR = {  # verb -> what follows it
    "load": f"{_LAYER}-(?P<tokens>n.+)",
    "loads": "-(?P<count>[1-9][0-9]*)-(?P<tokens>n.+)",
    "experts": "-(?P<count>[1-9][0-9]*)-(?P<tokens>n.+)",
    "copy": f"{_LAYER}-(?P<source>[0-9]+)",
    "share": f"{_LAYER}-(?P<source>[0-9]+){_OPERAND}{_SEED}",
    "call": f"{_LAYER}{_ROWS}{_SEED}{_UNDER}{_TIMES}",
    "calls": f"-(?P<count>[1-9][0-9]*){_ROWS}",
    "threads": f"-(?P<count>[1-9][0-9]*){_ROWS}",
    "again": f"{_LAYER}{_UNDER}{_TIMES}",
    "decode": f"{_LAYER}{_SEED}{_TIMES}",
    "grad": f"{_LAYER}{_ROWS}{_SEED}",
    "track": f"{_LAYER}{_ROWS}{_SEED}",
    "feed": f"{_LAYER}-(?P<source>[0-9]+){_ROWS}{_SEED}-(?P<change>{'|'.join(CHANGES)})",
    "x": "-s(?P<seed>[0-9]+)",
    "write": f"{_LAYER}{_WRITTEN}-(?P<extent>{'|'.join(EXTENTS)}){_SEED}",
    "replace": f"{_LAYER}{_WRITTEN}{_SEED}",
    "drop": _LAYER,
    "refuse": f"{_LAYER}-bad(?P<bad>[a-z]+)",
    "break": f"{_LAYER}{_ROWS}-op(?P<operator>[1-9][0-9]*)",
}
CALLS = ("call", "again", "refuse", "break", "track")


@dataclass(frozen=True)
class Step:
    """One step. `case` is its layer with the rows of x that it, or a call before it, is asked for.

    `layer` is the number of a layer, `count` that of layers from 0 on, each with its number added
    to the seed of its data; `source` is the layer that is copied, or one of whose operands
    the layer has; `seed` is that of new numbers;
    `condition` is what the kernel is called in, or prepares its weights in; the other fields are
    what only some verbs have.
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
    extent: str = "all"
    bad: str = ""
    change: str = ""
    condition: str = ""
    operator: int = 0  # the one that raises: the first is 1


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
        self.x: Case | None = None

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
        values = {name: int(value) if value.isdigit() else value for name, value in given.items()}
        values["case"] = self._case(verb, tokens, values)
        return Step(verb, text, **values)

    def _case(self, verb: str, tokens: str, values: dict) -> Case:
        """The step's case, after what the step changes."""
        layer = values.get("layer", 0)
        if verb == "load":
            case = self._of_tokens(tokens)
            values["condition"] = case.condition
            self.layers[layer] = self._within(case, case.condition).replace(condition="")
        elif verb in ("loads", "experts"):
            case = self._within(self._of_tokens(tokens))
            self.layers |= {n: case.replace(seed=case.seed + n) for n in range(values["count"])}
        elif verb in ("calls", "threads"):
            loaded = [self._loaded(number) for number in range(values["count"])]
            if verb == "threads":
                self._require_threads(loaded)
            self.x = [self._within(case.replace(m=values["rows"])) for case in loaded][-1]
            return self.x
        elif verb == "copy":
            self.layers[layer] = self._loaded(values["source"])
        elif verb == "share":
            self.layers[layer] = self._sharing(self._loaded(values["source"]), values)
        elif verb == "drop":
            self._loaded(layer)
            return self.layers.pop(layer)
        elif verb == "x":
            if self.x is None:
                raise ValueError("there is no x yet")
            return self.x
        return self._of_layer(verb, self._loaded(layer), values)

    def _of_tokens(self, tokens: str) -> Case:
        case = Case.parse(f"m1-{tokens}", self.limits.tokens)
        return case.replace(m=max(1, self.limits.m_least))

    def _of_layer(self, verb: str, case: Case, values: dict) -> Case:
        if verb in ("call", "break", "track"):
            self.x = self._within(case.replace(m=values["rows"]), values.get("condition", ""))
        elif verb == "again":
            self.x = self._within(self._taking_x(case), values.get("condition", ""))
        elif verb == "feed":
            self.x = self._within(self._fed(case, self._loaded(values["source"]), values["rows"]))
            return self.x
        elif verb == "decode":
            return self._within(self._of_bare_rows(case))
        elif verb == "grad":
            return self._with_gradient(case.replace(m=values["rows"]))
        elif verb == "refuse":
            if values["bad"] not in self.limits.bad:
                raise ValueError(f"the kernel does not promise to refuse bad{values['bad']}")
            return case.replace(bad=values["bad"])
        elif verb != "share" and values.get("operand") == "g_idx":
            self._require_order(case)
        elif values.get("operand") == "bias" and not case.bias:
            raise ValueError("the layer has no bias")
        return self.x if verb in CALLS else case

    def _loaded(self, layer: int) -> Case:
        if layer not in self.layers:
            raise ValueError(f"layer {layer} is not loaded")
        return self.layers[layer]

    def _taking_x(self, case: Case) -> Case:
        """The layer's case with the rows of the last x. Raises ValueError where that cannot be."""
        x = self.x
        wanted = ("k", "dtype", "layout", "rank")
        if x is None or any(getattr(x, name) != getattr(case, name) for name in wanted):
            raise ValueError("the x of the call before does not fit this layer")
        return case.replace(m=x.m)

    def _sharing(self, source: Case, values: dict) -> Case:
        """Another layer beside its source. Raises ValueError where that lacks the operand."""
        if values["operand"] == "g_idx" and source.g_idx == "none":
            raise ValueError("there is no g_idx to share")
        return source.replace(seed=source.seed + values.get("seed", 0) + 1)

    def _fed(self, case: Case, source: Case, rows: int) -> Case:
        """The layer's case. Raises ValueError where no result of the source can be its x."""
        self._within(source.replace(m=rows))
        alike = source.n == case.k and source.rank == case.rank and source.dtype == case.dtype
        if not alike or case.layout or case.start:
            raise ValueError("a result of the one layer is no x of the other")
        return case.replace(m=rows)

    def _require_threads(self, cases: list[Case]) -> None:
        if len({(case.k, case.dtype, case.layout, case.rank) for case in cases}) > 1:
            raise ValueError("no x fits all of these layers")
        if "threads2" not in self.limits.conditions:
            raise ValueError("outside the kernel's limits: condition")

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

    def _within(self, case: Case, condition: str = "") -> Case:
        if case.bad or case.backward or case.state or condition not in ("", *AMBIENT):
            raise ValueError("a layer has no bad operand and no gradient, nor such a condition")
        if outside := self.limits.violations(case.replace(condition=condition)):
            raise ValueError(f"outside the kernel's limits: {', '.join(outside)}")
        return case

    def _require_order(self, case: Case) -> None:
        if case.g_idx not in REORDERED or "act" not in self.limits.g_idx:
            raise ValueError("rows of this g_idx may not change places within the kernel's limits")
