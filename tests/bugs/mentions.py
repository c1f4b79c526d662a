"""Finds ids in the comments and strings of a Python file, and the tests that they belong to."""

import ast
import io
import re
import tokenize
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Mention:
    """An id, `path:line` that names it, and the guard that this makes ("" outside of tests)."""

    id: str
    place: str
    guard: str


def mentions_in(source: str, path: str, pattern: re.Pattern) -> list[Mention]:
    """Every id in `source`; in a test file, once for each test that it belongs to."""
    is_test_file = PurePosixPath(path).name.startswith("test_")
    nodes = _nodes(source) if is_test_file else []
    found = []
    for line, text in _texts(source):
        for name in pattern.findall(text):
            tests = _tests_of(line, nodes)
            guards = [f"`{path}::{test}`" for test in tests] or [f"`{path}`" * is_test_file]
            found += [Mention(name, f"{path}:{line}", guard) for guard in guards]
    return found


def _texts(source: str):
    """(line, text) of comments and strings; a string of several lines, line by line."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            for offset, text in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, text


@dataclass(frozen=True)
class _Node:
    """A top-level statement: its lines, with decorators and comments above; names in and out."""

    first: int
    last: int
    defines: frozenset[str]
    uses: frozenset[str]

    @property
    def tests(self) -> list[str]:
        return [name for name in self.defines if name.startswith("test_")]


def _nodes(source: str) -> list[_Node]:
    lines = source.splitlines()
    return [_node(statement, lines) for statement in ast.parse(source).body]


def _node(statement: ast.stmt, lines: list[str]) -> _Node:
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
    while first > 1 and lines[first - 2].startswith("#"):
        first -= 1
    names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
    stored = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    is_definition = isinstance(statement, (ast.FunctionDef, ast.ClassDef))
    return _Node(
        first=first,
        last=statement.end_lineno,
        defines=frozenset({statement.name} if is_definition else stored),
        uses=frozenset(node.id for node in names if isinstance(node.ctx, ast.Load)),
    )


def _tests_of(line: int, nodes: list[_Node]) -> list[str]:
    """The test around `line`, or the tests that use, directly or not, what is defined there."""
    around = [node for node in nodes if node.first <= line <= node.last]
    reached = [*around]
    for node in reached:  # grows while it is walked
        if not node.tests:
            reached += [user for user in nodes if user.uses & node.defines and user not in reached]
    in_order = [node for node in nodes if node in reached]
    return [test for node in in_order for test in node.tests]
