"""What surrounds a call: poisoned allocations, the device's health, torch's global state."""

from __future__ import annotations

import contextlib
import ctypes
import random

import torch


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


def free_memory(device: str) -> int:
    """Bytes that can be had; on a CPU a share that leaves room for the workers beside us."""
    return torch.cuda.mem_get_info(device)[0] if device.startswith("cuda") else 4 * 2**30


@contextlib.contextmanager
def poisoned_allocations(wanted: bool = True):
    """Fill what the kernel allocates by `torch.empty` with NaN, as torch offers for debugging."""
    if not wanted:  # a sanitizer looks for what is read and was never written
        yield
        return
    # `torch.use_deterministic_algorithms` would import Inductor: 2 s of each worker's first case.
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("warn")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)


def global_state() -> dict:
    """What a kernel must leave as it found it."""
    state = {
        "default dtype": torch.get_default_dtype(),
        "thread count": torch.get_num_threads(),
        "random state": _bytes_of(torch.get_rng_state()),
        "grad mode": torch.is_grad_enabled(),
        "matmul precision": torch.get_float32_matmul_precision(),
        "fp16 reduction": torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction,
        "bf16 reduction": torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction,
        "subnormals": bool(torch.full((8,), 2.0**-149).mul(1).ne(0).all()),
        "Python's random state": random.getstate(),
    }
    if torch.cuda.is_initialized():
        state["current device"] = torch.cuda.current_device()
        state["current stream"] = torch.cuda.current_stream().cuda_stream
        state["random state of the GPU"] = _bytes_of(torch.cuda.get_rng_state())
    return state


def _bytes_of(state: torch.Tensor) -> bytes:
    """Of a contiguous tensor on the CPU; torch may be there without numpy."""
    return ctypes.string_at(state.data_ptr(), state.nbytes)


def restore_state(state: dict) -> None:
    """Put back what `global_state` saw, for the cases that follow."""
    torch.set_default_dtype(state["default dtype"])
    torch.set_num_threads(state["thread count"])
    torch.set_rng_state(_random_state(state["random state"]))
    torch.set_grad_enabled(state["grad mode"])
    torch.set_float32_matmul_precision(state["matmul precision"])
    cuda = torch.backends.cuda.matmul
    cuda.allow_fp16_reduced_precision_reduction = state["fp16 reduction"]
    cuda.allow_bf16_reduced_precision_reduction = state["bf16 reduction"]
    torch.set_flush_denormal(not state["subnormals"])
    random.setstate(state["Python's random state"])
    if "current device" in state:
        torch.cuda.set_device(state["current device"])
        torch.cuda.set_rng_state(_random_state(state["random state of the GPU"]))


def _random_state(saved: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(saved), dtype=torch.uint8)
