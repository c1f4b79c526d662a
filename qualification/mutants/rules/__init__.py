"""The operators: what can be wrong at a node of a syntax tree, from the literature on mutation.

A rule is a generator over (variant, edits) for nodes of some types; `RULES` holds them by type.
"""

from .registry import OPERATORS, RULES

from . import flow, guards, state, values  # isort: skip - they register their rules

__all__ = ["OPERATORS", "RULES", "flow", "guards", "state", "values"]
