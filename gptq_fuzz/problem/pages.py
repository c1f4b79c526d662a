"""Operands at the edge of mapped memory: a read behind one of them, or before it, is a fault; on a
CPU a write into one is, as where it lies in a file that was mapped.

What torch's allocators give a tensor of its own holds here too: it begins on a multiple of BLOCK
bytes, and the whole block that holds its last byte can be read. So a kernel may load an aligned
vector of which a part lies outside; what is no part of such a block is not mapped. A view that
begins inside a block begins there too.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os

import torch

from gptq_fuzz.problem.cuda_pages import CannotMap, mapped_range
from gptq_fuzz.problem.layouts import POISON, Guarded, span

SIDES = ("behind", "before")
BLOCK = {"cpu": 64, "cuda": 512}  # bytes: alignment on a CPU, sizes are rounded to it on a GPU
LARGEST = 2**25  # bytes of an operand, gaps between its rows included, that is moved


@functools.cache
def can_be_moved(device: str) -> bool:
    """Whether memory of this device can be mapped so that it ends."""
    try:
        _memory(device, "x", 1)
    except (CannotMap, OSError, AttributeError):
        return False
    return True


def at_edge(name: str, operand: Guarded, side: str, device: str) -> torch.Tensor:
    """A copy of the operand, its gaps too, that ends where mapped memory does, or begins there.

    Strides, and the alignment as far as torch gives one, are as they were. One that is empty or
    larger than LARGEST stays where it is, as do all where nothing can be mapped. On a GPU the
    operand known by this name that was there before is overwritten.
    """
    view = operand.view
    item, block = view.element_size(), BLOCK[torch.device(device).type]
    size = span(view.shape, view.stride()) * item
    if not 0 < size <= LARGEST:
        return view
    into = view.data_ptr() % block
    reach = -(-(into + size) // block) * block
    try:
        memory = _memory(device, name, reach)
    except (CannotMap, OSError):  # no memory, or too many mappings that a kernel holds
        return view
    first = into if side == "before" else len(memory) - reach + into
    start = view.storage_offset() * item
    memory.fill_(POISON)
    memory[first : first + size].copy_(operand.storage[start : start + size])
    if memory.device.type == "cpu":
        _protect(memory.data_ptr(), len(memory), mmap.PROT_READ)
    return memory.view(view.dtype).as_strided(view.shape, view.stride(), first // item)


def _memory(device: str, name: str, size: int) -> torch.Tensor:
    """At least so many bytes, all there are between two places that cannot be read."""
    if torch.device(device).type == "cuda":
        return mapped_range(device, name, size)
    page = mmap.PAGESIZE
    room = -(-size // page) * page
    pages = mmap.mmap(-1, room + 2 * page)
    memory = torch.frombuffer(pages, dtype=torch.uint8, offset=page, count=room)
    for place in (memory.data_ptr() - page, memory.data_ptr() + room):
        _protect(place, page, 0)
    return memory


def _protect(place: int, size: int, allowed: int) -> None:
    """Of whole pages. Raises OSError."""
    if _libc().mprotect(ctypes.c_void_p(place), ctypes.c_size_t(size), allowed):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@functools.cache
def _libc():
    return ctypes.CDLL(None, use_errno=True)
