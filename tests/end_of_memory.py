"""Tensors that end where memory ends: what reads or writes past them dies of it."""

import ctypes
import mmap

import torch


def at_the_end_of_memory(tensor: torch.Tensor) -> torch.Tensor:
    """A contiguous copy with a page behind it that has no access. For a process of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    room = -(-tensor.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, room + mmap.PAGESIZE)
    start = torch.frombuffer(memory, dtype=torch.uint8).data_ptr()
    if libc.mprotect(ctypes.c_void_p(start + room), mmap.PAGESIZE, 0):
        raise OSError(ctypes.get_errno(), "mprotect")
    offset = room - tensor.nbytes
    place = torch.frombuffer(memory, dtype=torch.uint8, count=tensor.nbytes, offset=offset)
    return place.view(tensor.dtype).view(tensor.shape).copy_(tensor)
