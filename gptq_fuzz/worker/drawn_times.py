"""Times that Triton's tuners get, drawn: each config is met, on a CPU too, and again by its line.

Token `tuned<seed>` of a Backend stands for one order of all configs, of which the first that the
kernel's pruner admits, and that can be launched, is taken. Without the token tuners measure; on a
CPU, where nothing can be measured, order 0 holds.
"""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import math
import os

from gptq_fuzz.case.backend import Backend
from gptq_fuzz.case.case import Token

NAME = "tuned"
TUNED = Token(NAME, tuple(map(str, range(16))))
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
UNNAMED = "0" if INTERPRETED else None  # the order where a line names none; None: real times
_order = UNNAMED


def install() -> None:
    """In place of what tuners measure with."""
    import triton.testing
    from triton.runtime.autotuner import Autotuner

    if isinstance(Autotuner.do_bench, property):  # they are there already
        return
    measure, benchmarker = triton.testing.do_bench, Autotuner.do_bench.func
    run = Autotuner.run
    least = None  # of the times that were drawn in this run of a tuner

    def do_bench(call, *args, quantiles=None, **more):
        nonlocal least
        if _order is None:
            return measure(call, *args, quantiles=quantiles, **more)
        time = _time(_config_of(call))
        if least is None or time < least:
            if not INTERPRETED:
                call()  # one that may be taken, and cannot be launched, says so
            least = None if least is None else time
        return time if quantiles is None else [time] * len(quantiles)

    def running(self, *args, **more):
        nonlocal least
        before, least = least, math.inf
        try:
            return run(self, *args, **more)
        finally:
            least = before

    triton.testing.do_bench = do_bench
    Autotuner.run = running
    Autotuner.do_bench = property(lambda self: benchmarker(self) if _order is None else do_bench)


def _time(config) -> float:
    """The place of a config in the order that holds."""
    digest = hashlib.sha256(f"{_order} {config}".encode()).digest()
    return 1 + int.from_bytes(digest[:6], "little") / 2**48


def _config_of(call):
    """A tuner's own closure over one launch holds its config."""
    import triton

    held = [cell.cell_contents for cell in getattr(call, "__closure__", None) or ()]
    return next((value for value in held if isinstance(value, triton.Config)), None)


def choose(order: str | None) -> None:
    """From now on this order holds; what was tuned in another is forgotten."""
    global _order
    if order == _order:
        return
    _order = order
    are_tuners: dict[type, bool] = {}
    for tuner in gc.get_objects():
        kind = type(tuner)
        if kind not in are_tuners:
            are_tuners[kind] = hasattr(kind, "_bench")
        if are_tuners[kind] and isinstance(getattr(tuner, "cache", None), dict):
            tuner.cache.clear()


def tuned(backend: Backend) -> Backend:
    """A Backend that declares TUNED, so that its calls follow the order of their line."""
    if all(token.name != NAME for token in backend.limits.tokens):
        return backend

    def following(function):
        def call(*args, tuned=UNNAMED, **others):
            choose(tuned)
            return function(*args, **others)

        return call

    called = {name: getattr(backend, name) for name in ("matmul", "run", "gradient")}
    return dataclasses.replace(
        backend, **{name: following(one) for name, one in called.items() if one is not None}
    )
