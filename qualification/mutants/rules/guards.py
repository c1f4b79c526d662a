"""Wrong guards: masks of loads and stores, checks, exceptions."""

from __future__ import annotations

import ast

from .registry import rule
from .values import called

CHOICES = ("where",)
CHECKERS = ("checks", "_refuse", "refuse_", "_check", "are_tensors", "same_device", "tensor_of",
            "bits_supported", "whole_words", "maxq_agrees")  # fmt: skip


@rule("mask", ast.Call)
def dropped(node, source):
    """A load or store without its mask, or with another filling."""
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    if "mask" in keywords:
        edits = source.replace(keywords["mask"], "None")
        if "other" in keywords:
            edits += source.replace(keywords["other"], "None")
            yield "filled", source.replace(keywords["other"], "1")
        yield "dropped", edits


@rule("mask", ast.BinOp)
def weakened(node, source):
    """One of two conditions that are joined by `&` or `|` is missing."""
    if isinstance(node.op, ast.BitAnd | ast.BitOr) and (
        _is_mask(node.left) or _is_mask(node.right)
    ):
        for kept in (node.left, node.right):
            yield "weakened", source.replace(node, f"({source.text(kept)})")


@rule("mask", ast.Call)
def chosen(node, source):
    """`where` takes one side everywhere; `clamp` lets everything through."""
    if called(node) in CHOICES and len(node.args) == 3:
        for side in node.args[1:]:
            yield "chosen", source.replace(node, f"({source.text(side)})")
    if called(node) in ("clamp", "masked_fill") and isinstance(node.func, ast.Attribute):
        yield "unclamped", source.replace(node, f"({source.text(node.func.value)})")


@rule("mask", ast.Call)
def any_for_all(node, source):
    """`all` becomes `any`."""
    other = {"all": "any", "any": "all"}.get(called(node))
    if other:
        new = source.text(node.func)[:-3] + other
        yield "quantifier", source.replace(node.func, new)


@rule("exception", ast.If)
def check_deleted(node, source):
    """What must raise goes on."""
    if isinstance(node.body[-1], ast.Raise):
        yield "check-deleted", source.replace(node.test, "False")


@rule("exception", ast.Expr)
def call_deleted(node, source):
    """A call of the door is missing."""
    if is_check(node):
        yield "call-deleted", source.replace(node, "pass")


@rule("exception", ast.ExceptHandler)
def handler_dropped(node, source):
    """An exception that was handled gets through, or another one does."""
    if node.type is None:
        return
    yield "handler-dropped", source.replace(node.type, "()")
    if isinstance(node.type, ast.Tuple):
        for kind in node.type.elts:
            yield "kind-dropped", source.replace(kind, "()")


@rule("exception", ast.Raise)
def swallowed(node, source):
    """An exception is kept back."""
    if node.exc is None or not isinstance(source.parent(node), ast.If):
        yield "swallowed", source.replace(node, "pass")


def is_check(node) -> bool:
    """A statement that calls the door."""
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return False
    return ast.unparse(node.value.func).removeprefix("self.").startswith(CHECKERS)


def _is_mask(node) -> bool:
    """A comparison, or a combination of some."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
        return _is_mask(node.left) or _is_mask(node.right)
    return isinstance(node, ast.Compare) or (isinstance(node, ast.Name) and node.id == "inside")
