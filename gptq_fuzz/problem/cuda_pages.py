"""Memory of a GPU between two places that are reserved and not mapped, by the driver's functions.

A range is mapped once and kept: what maps memory costs a thousand times as much as a launch. Each
tensor over it is a view of one tensor, so that what is written there anew counts as a new version.
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, byref, c_int, c_int64, c_size_t, c_uint8, c_uint16, c_uint64, c_void_p

import torch

PINNED, ON_DEVICE, READ_AND_WRITE = 1, 1, 3  # of the driver's enumerations
CPU, CUDA, UNSIGNED = 1, 2, 1  # of DLPack's


class CannotMap(Exception):
    """The driver is not there or refused; the argument says which function, and its status."""


class Location(ctypes.Structure):
    """CUmemLocation"""

    _fields_ = (("type", c_int), ("id", c_int))


class Allocation(ctypes.Structure):
    """CUmemAllocationProp"""

    _fields_ = (
        *(("type", c_int), ("handle_types", c_int), ("location", Location)),
        *(("windows", c_void_p), ("flags", c_uint8 * 8)),
    )


class Access(ctypes.Structure):
    """CUmemAccessDesc"""

    _fields_ = (("location", Location), ("flags", c_int))


class ManagedTensor(ctypes.Structure):
    """DLManagedTensor, the tensor in its place"""

    _fields_ = (
        *(("data", c_void_p), ("device_type", c_int), ("device_id", c_int), ("rank", c_int)),
        *(("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16)),
        *(("shape", POINTER(c_int64)), ("strides", POINTER(c_int64)), ("offset", c_uint64)),
        *(("context", c_void_p), ("deleter", c_void_p)),
    )


class Range:
    """At least `size` bytes of a device, with `memory` [bytes] uint8 over them; for good, or until
    `free`. Raises CannotMap."""

    def __init__(self, device: str, size: int):
        index = torch.device(device).index or 0
        torch.zeros(1, device=device)  # the driver knows no context before
        allocation = Allocation(PINNED, 0, Location(ON_DEVICE, index))
        grain = c_size_t()
        _ask("cuMemGetAllocationGranularity", byref(grain), byref(allocation), c_int(0))
        self.grain = grain.value
        self.size = -(-size // self.grain) * self.grain
        self._reserved, handle = c_uint64(), c_uint64()
        room, none = c_size_t(self.size + 2 * self.grain), c_uint64(0)
        _ask("cuMemAddressReserve", byref(self._reserved), room, c_size_t(0), none, none)
        self.start = self._reserved.value + self.grain
        place, length = c_uint64(self.start), c_size_t(self.size)
        _ask("cuMemCreate", byref(handle), length, byref(allocation), none)
        _ask("cuMemMap", place, length, c_size_t(0), handle, none)
        _ask("cuMemRelease", handle)  # it lives as long as it is mapped
        access = Access(allocation.location, READ_AND_WRITE)
        _ask("cuMemSetAccess", place, length, byref(access), c_size_t(1))
        self.memory = tensor_at(self.start, self.size, CUDA, index)
        self._require_memory()

    def _require_memory(self) -> None:
        """What is written there, first and last bytes among it, is read again."""
        self.memory.fill_(1)
        self.memory[-1] = 2
        if int(self.memory.sum(dtype=torch.int64)) != self.size + 1:
            raise CannotMap("what was written was not read again")

    def free(self) -> None:
        """Give the memory back; no tensor over it may be used any more."""
        torch.cuda.synchronize()
        _ask("cuMemUnmap", c_uint64(self.start), c_size_t(self.size))
        _ask("cuMemAddressFree", self._reserved, c_size_t(self.size + 2 * self.grain))


@functools.cache
def _range(device: str, name: str, size: int) -> Range:
    return Range(device, size)


def mapped_range(device: str, name: str, size: int) -> torch.Tensor:
    """[bytes] uint8, at least `size` of them: the range of this name, the same one each time."""
    return _range(device, name, max(1 << (size - 1).bit_length(), 2**21)).memory


def tensor_at(address: int, size: int, device_type: int, index: int) -> torch.Tensor:
    """[size] uint8 over memory that is there already, and that it does not own."""
    shape, strides = (c_int64 * 1)(size), (c_int64 * 1)(1)
    described = ManagedTensor(address, device_type, index, 1, UNSIGNED, 8, 1, shape, strides)
    _described.append(described)  # torch reads it as long as the tensor lives
    capsule_of = ctypes.pythonapi.PyCapsule_New
    capsule_of.argtypes = (c_void_p, ctypes.c_char_p, c_void_p)
    capsule_of.restype = ctypes.py_object
    capsule = capsule_of(ctypes.addressof(described), b"dltensor", None)
    return torch.utils.dlpack.from_dlpack(capsule)


_described: list[ManagedTensor] = []


@functools.cache
def _driver():
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as problem:
        raise CannotMap(str(problem)) from problem


def _ask(function: str, *arguments) -> None:
    status = getattr(_driver(), function)(*arguments)
    if status:
        raise CannotMap(f"{function} gave {status}")
