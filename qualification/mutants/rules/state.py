"""What is kept between calls: hooks and keys of caches."""

from __future__ import annotations

import ast
import re

from ..python import Edit
from .registry import rule

HOOK = re.compile(r"(_hooks?|^early_config_prune|^perf_model|^hook|^_prepare|^reset_to_zero)$")
HOOK_CALL = re.compile(r"hook|_prepare|zero_$|register_(autograd|fake)|progress|report_|^timing$")
REGISTERS = re.compile(r"register_|custom_|hook|rule\(|fixture")
KEY_NAMES = {"state", "key", "identity", "signature", "cells", "exact", "classes", "among",
             "version", "rounded"}  # fmt: skip
KEY_FUNCTIONS = {"of", "find", "_class_of", "identity_of", "_machine", "_state_of_triton",
                 "fields_of", "_path", "__hash__", "cell_of"}  # fmt: skip
COMPARED = KEY_NAMES | {"won"}


@rule("hook", ast.Attribute, ast.Name)
def lost(node, source):
    """A hook reads as absent."""
    name = node.attr if isinstance(node, ast.Attribute) else node.id
    if not HOOK.search(name) or not isinstance(node.ctx, ast.Load):
        return
    parent = source.parent(node)
    if isinstance(parent, ast.Attribute) or getattr(parent, "func", None) is node:
        return  # only a part of a name, or a call that the next rule deletes
    yield "lost", source.replace(node, "()" if name.endswith(("_hooks", "zero")) else "None")


@rule("hook", ast.Expr)
def skipped(node, source):
    """A call that tells or resets somebody is missing."""
    if is_hook_call(node):
        yield "skipped", source.replace(node, "pass")


@rule("hook", ast.FunctionDef)
def unregistered(node, source):
    """A decorator that registers its function is missing."""
    for decorator in node.decorator_list:
        if REGISTERS.search(source.text(decorator)):
            start, end = source.span(decorator)
            yield "unregistered", (Edit(start - 1, end, ""),)


@rule("cachekey", ast.Tuple, ast.List)
def component(node, source):
    """A part of a key says nothing."""
    if not isinstance(node.ctx, ast.Load) or len(node.elts) < 2 or not _is_key(node, source):
        return
    for element in node.elts:
        new = "*()" if isinstance(node, ast.List) or isinstance(element, ast.Starred) else "None"
        yield "component", source.replace(element, new)


@rule("cachekey", ast.Dict)
def entry(node, source):
    """An entry of a key says nothing."""
    if _is_key(node, source):
        for key, value in zip(node.keys, node.values, strict=True):
            yield "entry", source.replace(value, "{}" if key is None else "None")


@rule("cachekey", ast.Compare)
def ignored(node, source):
    """Two keys are taken for equal."""
    sides = [side for side in (node.left, *node.comparators) if _last_name(side) in COMPARED]
    if sides and isinstance(node.ops[0], ast.Eq | ast.NotEq):
        equal = isinstance(node.ops[0], ast.Eq)
        yield "ignored", source.replace(node, "(True)" if equal else "(False)")


def is_hook_call(node: ast.Expr) -> bool:
    """A statement that calls a hook or what stands for one."""
    function = getattr(node.value, "func", None)
    return bool(HOOK_CALL.search(_last_name(function)))


def _last_name(node) -> str:
    if isinstance(node, ast.Subscript):
        return _last_name(node.slice)
    if isinstance(node, ast.Constant):
        return str(node.value)
    return getattr(node, "attr", None) or getattr(node, "id", "") or ""


def _is_key(node, source) -> bool:
    """Assigned to a key's name, part of what a function that makes keys returns, or names of it."""
    parent = source.parent(node)
    if isinstance(parent, ast.Assign) and _last_name(parent.targets[0]) in KEY_NAMES:
        return True
    if isinstance(parent, ast.Call) and isinstance(node, ast.List):
        return "autotune" in source.text(parent.func)
    function = source.function(node)
    if function is None or function.name not in KEY_FUNCTIONS:
        return False
    around = (node, *source.around(node))
    return any(isinstance(up, ast.Return | ast.ListComp | ast.Assign) for up in around)
