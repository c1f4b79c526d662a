"""Kernels that Triton's interpreter runs in place of a GPU: whether it did for a kernel.

Whoever launches none is a kernel of torch's, whatever it has imported.
"""

from __future__ import annotations

import functools
import sys

_counted = 0


def launches() -> int:
    """How many there were, since this was asked first after Triton was imported."""
    interpreter = sys.modules.get("triton.runtime.interpreter")
    executor = getattr(interpreter, "GridExecutor", None)
    if executor is not None and not hasattr(executor, "is_counted"):
        _count(executor)
    return _counted


def _count(executor: type) -> None:
    launch = executor.__call__

    @functools.wraps(launch)
    def counted(*arguments, **options):
        global _counted
        _counted += 1
        return launch(*arguments, **options)

    executor.__call__, executor.is_counted = counted, True


def bfloat16_works() -> bool:
    """Whether the interpreter that ran them multiplies bfloat16 as a GPU does."""
    from gptq_fuzz.oracle.interpreted import bfloat16_works

    return bfloat16_works()
