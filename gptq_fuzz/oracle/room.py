"""Room on a device that several processes share: what a call lacked, and what is given back."""

from __future__ import annotations

import contextlib
import gc

import torch

from gptq_fuzz.oracle.messages import message_of

FREE_ON_A_HOST = 4 * 2**30  # bytes that are taken to be there
ALWAYS_THERE = 2**30  # bytes for which the device is not asked
OF_CONTEXTS = 2**30  # bytes that a process has beside what torch allocates, at most
CHAIN = 10  # exceptions, each raised from the next
# What torch, CUDA and cuBLAS say in exceptions of other types
SAID = (
    "out of memory",
    "outofmemory",
    "alloc_failed",
    "resource allocation failed",
    "can't allocate memory",
)


def free_memory(device: str) -> int:
    """Bytes that can be had; on a CPU a share that leaves room for the workers beside us."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    return max(FREE_ON_A_HOST, available() // 2)


def available() -> int:
    """Bytes that the system could give out now, to this container; 0 where it does not say."""
    numbers = dict(line.split(":") for line in _read("/proc/meminfo").splitlines())
    found = 1024 * int(numbers.get("MemAvailable", "0").split()[0])
    limit, used = (_read(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    return min(found, int(limit) - int(used or 0)) if limit.strip().isdigit() else found


def _read(path: str) -> str:
    with contextlib.suppress(OSError), open(path) as text:
        return text.read()
    return ""


def left_memory(device: str) -> int:
    """Bytes that one more call can have; on a GPU also those that torch holds and nobody uses."""
    if not device.startswith("cuda"):
        return free_memory(device)
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free_memory(device) + held


def lacks_memory(problem: BaseException | None) -> bool:
    """Whether an exception, or what it was raised from, is about memory."""
    for _ in range(CHAIN):
        if problem is None:
            return False
        if isinstance(problem, (torch.OutOfMemoryError, MemoryError)):
            return True
        if any(words in message_of(problem).lower() for words in SAID):
            return True
        problem = problem.__cause__ or problem.__context__
    return False


def is_short(device: str, needed: int) -> bool:
    """Whether a call that needs so many bytes may have found less, whoever has the rest.

    What others hold changes while one looks: where they have most of a GPU, less was there.
    """
    return left_memory(device) < max(needed, ALWAYS_THERE) or _is_mostly_of_others(device)


def _is_mostly_of_others(device: str) -> bool:
    if not device.startswith("cuda"):
        return False
    total = torch.cuda.mem_get_info(device)[1]
    used = total - free_memory(device) - torch.cuda.memory_reserved(device) - OF_CONTEXTS
    return used > total // 2


def give_back(device: str) -> None:
    """What a large problem took and torch keeps for the next, which others may need before."""
    if device.startswith("cuda") and torch.cuda.memory_reserved(device) > ALWAYS_THERE:
        gc.collect()
        torch.cuda.empty_cache()
