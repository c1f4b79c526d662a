"""Compiles the configs of a kernel in parallel and times them one after the other."""

import contextlib
import math
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import triton
import triton.testing
from triton.errors import TritonError
from triton.runtime._async_compile import active_mode

WARMUP_MS = 5  # the clock of a busy GPU is up by then: 25, as triton has it, changes no median
REPETITION_MS = 40  # triton's default of 100 only makes tuning longer, not better
QUANTILES = (0.5, 0.2, 0.8)
# Of the driver, of torch, and of Triton when somebody killed its assembler to get memory.
PASSING = re.compile("out of memory|memory allocation failure|error code -9", re.IGNORECASE)
SILENT_SECONDS = 2.0  # tunings that take longer report how far they are


class Timing(NamedTuple):
    """Median, 20 % and 80 % quantile in ms; or infinities, and why the config cannot run.

    The reason is a text: an exception would keep the tensors of its frames alive. `may_pass`: with
    more memory, the config may run another time.
    """

    milliseconds: tuple
    reason: str = ""
    may_pass: bool = False


def measure(call, scratch=None):
    """The Timing of `call`, which launches; on `scratch`, if given, whose values it may need."""
    try:
        repeatable = scratch.repeatable(call) if scratch else call
        timings = triton.testing.do_bench(
            repeatable, warmup=WARMUP_MS, rep=REPETITION_MS, quantiles=QUANTILES
        )
    except (TritonError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {error}"
        return Timing((math.inf,) * len(QUANTILES), reason, bool(PASSING.search(reason)))
    return Timing(tuple(timings))


@contextlib.contextmanager
def compiling_ahead(compile_one, configs):
    """Inside, `compile_one(config)` of all configs runs in threads of its own.

    A launch waits for its own compilation only, so the first configs are timed meanwhile. What
    does not compile raises when it is launched. Where a caller compiles that way already, nothing
    is compiled ahead.
    """
    if active_mode.get() is not None:
        yield
        return
    threads = min(len(configs), os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool, triton.AsyncCompileMode(pool, ignore_errors=True):
        for config in configs:
            with contextlib.suppress(TritonError, RuntimeError):
                compile_one(config)
        yield


class Progress:
    """Lines on standard error about a tuning that takes long."""

    def __init__(self, name, configs, clock=time.monotonic):
        self._name, self._count, self._clock = name, len(configs), clock
        self._started = clock()

    def timing(self, position, config):
        """About to time `config`, the one at `position`."""
        elapsed = self._clock() - self._started
        if elapsed >= SILENT_SECONDS:
            text = f"{self._name}: tuning, config {position + 1} of {self._count} ({config})"
            sys.stderr.write(f"{text}, {elapsed:.0f} s so far\n")
