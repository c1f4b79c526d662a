"""Layers that are dead but for a cycle of references, as modules with a parent or a hook are.

Python's collector frees them at any place of a later call, and what a kernel has asked for at the
end of a tensor is done there: under a lock that the call holds, while it iterates over a table.
"""

from __future__ import annotations

import gc

from gptq_fuzz.oracle.each_operator import EachOperator
from gptq_fuzz.oracle.interrupts import unstuck


class Collected(EachOperator):
    """Each of what is `left` is collected before the operator of its number, or at the end."""

    def __init__(self):
        super().__init__()
        self._left: list[tuple[int, object]] = []
        self._seen = 0
        self.is_stuck = False  # whether the collection did not end by itself

    def leave(self, number: int, what: object) -> None:
        """From now on nobody else should hold it."""
        self._left.append((number, what))

    @property
    def is_waiting(self) -> bool:
        """Whether something is left."""
        return bool(self._left)

    def before(self, operator) -> None:
        self._seen += 1
        self._collect(self._seen)

    def __exit__(self, *problem):
        super().__exit__(*problem)
        self._seen = 0
        self._collect()

    def _collect(self, number: float = float("inf")) -> None:
        due = [what for at, what in self._left if at <= number]
        if not due:
            return
        self._left = [(at, what) for at, what in self._left if at > number]
        due.append(due)
        with unstuck() as hung:
            del due
            gc.collect(0)  # where what was made last is
        self.is_stuck |= bool(hung)
