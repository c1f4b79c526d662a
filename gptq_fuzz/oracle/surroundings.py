"""What surrounds a call: poisoned allocations, the device's health, torch's global state."""

from __future__ import annotations

import contextlib
import ctypes
import random
import signal
import sys
import threading
import warnings

import torch
from torch.utils import deterministic

PROBE = "a warning of some program"
AUTOCAST = ("cpu", "cuda")  # kinds of devices
# What programs handle themselves; SIGALRM is a test's own
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGSEGV, signal.SIGFPE, signal.SIGABRT)


def synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def device_is_lost(device: str) -> bool:
    """A sticky CUDA error: every later call in this process would fail too."""
    try:
        synchronize(device)
    except RuntimeError:
        return True
    return False


@contextlib.contextmanager
def poisoned_allocations(wanted: bool = True):
    """Fill what the kernel allocates by `torch.empty` with NaN, as torch offers for debugging.

    A mode that the kernel chose instead is left for `global_state` to see.
    """
    if not wanted:  # a sanitizer looks for what is read and was never written
        yield
        return
    # `torch.use_deterministic_algorithms` would import Inductor: 2 s of each worker's first case.
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("warn")
    ours = torch.get_deterministic_debug_mode()
    try:
        yield
    finally:
        if torch.get_deterministic_debug_mode() == ours:
            torch.set_deterministic_debug_mode(before)


def global_state() -> dict:
    """What a kernel must leave as it found it."""
    state = {
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "thread count": torch.get_num_threads(),
        "random state": _bytes_of(torch.get_rng_state()),
        **state_of_a_thread(),
        "anomaly mode": (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        "deterministic mode": torch.get_deterministic_debug_mode(),
        "filling of new memory": deterministic.fill_uninitialized_memory,
        "matmul precision": torch.get_float32_matmul_precision(),
        "fp16 reduction": torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction,
        "bf16 reduction": torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction,
        "mkldnn": torch._C._get_mkldnn_enabled(),
        "subnormals": _has_subnormals(),
        "Python's random state": random.getstate(),
        "signal handlers": tuple(map(signal.getsignal, SIGNALS)),
        "numpy's errors and random state": _state_of_numpy(),
    }
    if torch.cuda.is_initialized():
        state["current device"] = torch.cuda.current_device()
        state["current stream"] = torch.cuda.current_stream().cuda_stream
        state["random state of the GPU"] = _bytes_of(torch.cuda.get_rng_state())
    return state


def state_of_a_thread() -> dict:
    """What torch keeps for each thread, as far as that can be asked without an operator."""
    return {
        "grad mode": torch.is_grad_enabled(),
        "autocast": tuple(map(_autocast_to, AUTOCAST)),
    }


def differing(before: dict, after: dict) -> list[str]:
    """Names of what is not as it was; what was not there before has not changed."""
    return [name for name, value in before.items() if value is not None and after[name] != value]


def _autocast_to(kind: str) -> torch.dtype | None:
    """The dtype that torch casts to on this kind of device; None where it does not."""
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None


def treatment() -> str:
    """The action for a warning of some program; filters for others may come and go, as modules are
    imported.
    """
    for action, message, kind, module, line in warnings.filters:
        is_meant = (message is None or message.match(PROBE)) and issubclass(UserWarning, kind)
        if is_meant and (module is None or module.match(PROBE)) and not line:
            return action
    return warnings.defaultaction


def _has_subnormals() -> bool:
    smallest = torch.full((8,), 2.0**-149, dtype=torch.float32, device="cpu")
    return bool(smallest.mul(1).ne(0).all())


def _state_of_numpy() -> tuple | None:
    """None where nobody has imported it."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "random"):
        return None
    name, keys, *rest = numpy.random.get_state()
    return numpy.geterr(), (name, keys.tobytes(), *rest)


def _bytes_of(state: torch.Tensor) -> bytes:
    """Of a contiguous tensor on the CPU; torch may be there without numpy."""
    return ctypes.string_at(state.data_ptr(), state.nbytes)


def restore_state(state: dict) -> None:
    """Put back what `global_state` saw, for the cases that follow."""
    if torch.get_default_device() != state["default device"]:
        device = state["default device"]
        torch.set_default_device(None if device.type == "cpu" else device)
    torch.set_default_dtype(state["default dtype"])
    torch.set_num_threads(state["thread count"])
    torch.set_rng_state(_random_state(state["random state"]))
    torch.set_grad_enabled(state["grad mode"])
    for kind, dtype in zip(AUTOCAST, state["autocast"], strict=True):
        torch.set_autocast_enabled(kind, dtype is not None)
        if dtype is not None:
            torch.set_autocast_dtype(kind, dtype)
    torch.autograd.set_detect_anomaly(*state["anomaly mode"])
    torch.set_deterministic_debug_mode(state["deterministic mode"])
    deterministic.fill_uninitialized_memory = state["filling of new memory"]
    torch.set_float32_matmul_precision(state["matmul precision"])
    torch._C._set_mkldnn_enabled(state["mkldnn"])
    cuda = torch.backends.cuda.matmul
    cuda.allow_fp16_reduced_precision_reduction = state["fp16 reduction"]
    cuda.allow_bf16_reduced_precision_reduction = state["bf16 reduction"]
    torch.set_flush_denormal(not state["subnormals"])
    random.setstate(state["Python's random state"])
    _restore_handlers(state["signal handlers"])
    if state["numpy's errors and random state"] is not None:
        errors, (name, keys, *rest) = state["numpy's errors and random state"]
        numpy = sys.modules["numpy"]
        numpy.seterr(**errors)
        numpy.random.set_state((name, numpy.frombuffer(keys, numpy.uint32), *rest))
    if "current device" in state and not device_is_lost("cuda"):  # of that there is no next case
        torch.cuda.set_device(state["current device"])
        torch.cuda.set_rng_state(_random_state(state["random state of the GPU"]))


def _restore_handlers(handlers: tuple) -> None:
    """Of signals: the main thread's to set; None is a handler that Python did not install."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number, handler in zip(SIGNALS, handlers, strict=True):
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _random_state(saved: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(saved), dtype=torch.uint8)
