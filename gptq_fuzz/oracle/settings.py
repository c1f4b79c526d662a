"""Settings of a process off their defaults, for a time: a kernel that sets a default is seen then.

What is compared is in surroundings.py. Of that, the default dtype and device, threads, grad mode,
autocast and streams are conditions of their own; without subnormals a result is another one.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
import threading
from collections.abc import Callable, Iterator

import torch
from torch.utils import deterministic

MATMUL = torch.backends.cuda.matmul


@contextlib.contextmanager
def put(read: Callable, write: Callable, value) -> Iterator[None]:
    """A setting at `value`, and as it was afterwards."""
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


def _attribute(owner: object, name: str, value):
    write = functools.partial(setattr, owner, name)
    return put(lambda: getattr(owner, name), write, value)


def anomaly_mode(looks_for_nan: bool = False):
    """Anomaly mode is on, and gradients that are NaN raise or do not."""
    now = lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled())  # noqa: E731
    return put(now, lambda both: torch.autograd.set_detect_anomaly(*both), (True, looks_for_nan))


def _random_state():
    """Of the same seed, some numbers later."""
    later = torch.Generator("cpu")
    later.set_state(torch.get_rng_state())
    torch.empty(1, dtype=torch.float32, device="cpu").uniform_(generator=later)
    return put(torch.get_rng_state, torch.set_rng_state, later.get_state())


def _errors_of_numpy():
    numpy = sys.modules.get("numpy")
    if not hasattr(numpy, "seterr"):
        return contextlib.nullcontext()
    return numpy.errstate(all="ignore")


def _handler_of_interrupts():
    """Another function that does the same; the main thread's to set."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.SIG_IGN:  # as in the background of a shell
        same = _ignore
    elif callable(handler):
        same = functools.partial(handler)
    else:
        return contextlib.nullcontext()
    if threading.current_thread() is not threading.main_thread():
        return contextlib.nullcontext()
    write = functools.partial(signal.signal, signal.SIGINT)
    return put(lambda: handler, write, same)


def _ignore(_number, _frame) -> None:
    """What SIG_IGN does."""


# Those that change no result
SETTINGS: tuple[Callable, ...] = (
    lambda: put(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, "warn"),
    lambda: _attribute(deterministic, "fill_uninitialized_memory", False),
    lambda: _attribute(MATMUL, "allow_fp16_reduced_precision_reduction", False),
    lambda: _attribute(MATMUL, "allow_bf16_reduced_precision_reduction", False),
    anomaly_mode,
    _random_state,
    _errors_of_numpy,
    _handler_of_interrupts,
)
# Those that choose how torch multiplies: the same product may have other bits
OF_PRODUCTS: tuple[Callable, ...] = (
    lambda: put(torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled, False),
    lambda: put(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "high"),
)


@contextlib.contextmanager
def moved(settings: tuple[Callable, ...]) -> Iterator[None]:
    """These settings off their defaults."""
    with contextlib.ExitStack() as stack:
        for setting in settings:
            stack.enter_context(setting())
        yield
