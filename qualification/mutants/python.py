"""Sites of a Python or Triton file: every rule asked at every node of its syntax tree."""

from __future__ import annotations

import ast
import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """Bytes [start, end) of the source become `text`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Site:
    """One fault: which operator, which variant of it, in which function, by which edits."""

    operator: str
    variant: str
    scope: str
    line: int
    edits: tuple[Edit, ...]


class Source:
    """A parsed file: nodes, their text and what is around them."""

    def __init__(self, text: str):
        self.data = text.encode()
        self.tree = ast.parse(text)
        ends = itertools.accumulate(map(len, self.data.splitlines(keepends=True)))
        self._starts = [0, *ends]
        self._parents = {
            child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)
        }

    def span(self, node: ast.AST) -> tuple[int, int]:
        """First byte and one past the last, without parentheses around an expression."""
        start = self._starts[node.lineno - 1] + node.col_offset
        return start, self._starts[node.end_lineno - 1] + node.end_col_offset

    def text(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.data[start:end].decode()

    def replace(self, node: ast.AST, text: str) -> tuple[Edit, ...]:
        return (Edit(*self.span(node), text),)

    def between(self, left: ast.AST, right: ast.AST, old: str, new: str) -> tuple[Edit, ...]:
        """The operator that stands between two operands becomes another."""
        start, end = self.span(left)[1], self.span(right)[0]
        place = self.data.index(old.encode(), start, end)
        return (Edit(place, place + len(old), new),)

    def parent(self, node: ast.AST) -> ast.AST | None:
        return self._parents.get(node)

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """The node's parent, its parent, up to the module."""
        while (node := self._parents.get(node)) is not None:
            yield node

    def function(self, node: ast.AST) -> ast.FunctionDef | None:
        """The innermost function around `node`."""
        return next((up for up in self.around(node) if isinstance(up, ast.FunctionDef)), None)

    def scope(self, node: ast.AST) -> str:
        """`Class.method` around `node`; `module` outside of all."""
        kinds = (ast.FunctionDef, ast.ClassDef)
        names = [up.name for up in (node, *self.around(node)) if isinstance(up, kinds)]
        return ".".join(reversed(names)) or "module"

    @functools.cached_property
    def nodes(self) -> list[ast.AST]:
        """What may be mutated, in the order of the text."""
        silent = set()
        for node in ast.walk(self.tree):
            for top in _left_out(node):
                silent |= set(ast.walk(top))
        nodes = [n for n in ast.walk(self.tree) if hasattr(n, "lineno") and n not in silent]
        return sorted(nodes, key=self.span)


def _left_out(node: ast.AST) -> list[ast.AST]:
    """Children of `node` that say nothing to a machine: messages, annotations, docstrings."""
    if isinstance(node, ast.Raise):
        return [part for part in (node.exc, node.cause) if part]
    if isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom):
        return [node]
    if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
        return [node.annotation]
    if isinstance(node, ast.FunctionDef) and node.returns:
        return [node.returns, *_docstring(node)]
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
        return _docstring(node)
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
        return [node]
    return []


def _docstring(node) -> list[ast.AST]:
    return node.body[:1] if ast.get_docstring(node, clean=False) is not None else []


def sites(text: str) -> Iterator[Site]:
    """Every fault that the rules know for this file."""
    from .rules import RULES  # they are made of Source and Edit

    source = Source(text)
    for node in source.nodes:
        for rule in RULES.get(type(node), ()):
            for variant, edits in rule.find(node, source):
                yield Site(rule.operator, variant, source.scope(node), node.lineno, edits)
