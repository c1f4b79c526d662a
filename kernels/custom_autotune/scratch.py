"""Copies of a call's tensors, so that timing writes to no tensor of the caller's."""

import copy

import torch

ALIGNMENT = 16  # bytes; Triton compiles for no larger one


class Scratch:
    """Tensors to launch on in place of others: same bytes, strides and alignment.

    What overlaps does so here too. `restored` names those that get their values back before every
    launch; None: all of them, if the second of two launches leaves other bytes than the first.
    """

    def __init__(self, named, restored=None):
        self._twins = {}  # id of a tensor -> (its memory, that of its copy, the copy)
        tensors = {name: _tensor_in(value) for name, value in named.items()}
        tensors = {
            name: tensor for name, tensor in tensors.items()
            if tensor is not None and tensor.numel()
        }  # fmt: skip
        for overlapping in _overlapping(tensors.values()):
            self._copy(overlapping)
        self._named = None
        if restored is not None:
            self._named = [self._twins[id(tensors[name])] for name in restored if name in tensors]

    def of(self, value):
        """What stands for an argument: the copy of a tensor, or a descriptor of the copy."""
        tensor = _tensor_in(value)
        if tensor is None or id(tensor) not in self._twins:
            return value
        twin = self._twins[id(tensor)][2]
        if tensor is value:
            return twin
        described = copy.copy(value)
        described.base = twin
        return described

    def repeatable(self, launch):
        """`launch`, or one that begins with the original values each time. It is launched."""

        def restore_and_launch():
            for memory, twin, _ in self._twins.values() if self._named is None else self._named:
                twin.copy_(memory)
            return launch()

        if self._named is not None:
            return restore_and_launch if self._named else launch
        restore_and_launch()
        first = [None if _same(memory, twin) else twin.clone() for memory, twin, _ in self._all()]
        launch()
        stable = all(
            _same(twin, memory if once is None else once)
            for once, (memory, twin, _) in zip(first, self._all(), strict=True)
        )
        return launch if stable else restore_and_launch

    def _all(self):
        return self._twins.values()

    def _copy(self, tensors):
        start = min(tensor.data_ptr() for tensor in tensors)
        before = start % ALIGNMENT
        size = max(tensor.data_ptr() + _memory(tensor).nbytes for tensor in tensors) - start
        block = torch.empty(before + size, dtype=torch.uint8, device=tensors[0].device)[before:]
        for tensor in tensors:
            memory = _memory(tensor)
            place = tensor.data_ptr() - start
            twin = block[place : place + memory.nbytes].view(tensor.dtype).copy_(memory)
            shaped = twin.as_strided(tensor.shape, tensor.stride(), twin.storage_offset())
            self._twins[id(tensor)] = memory, twin, shaped


def _tensor_in(value):
    """A tensor, or the one that Triton's descriptors and wrappers are of; else None."""
    value = value if isinstance(value, torch.Tensor) else getattr(value, "base", None)
    return value if isinstance(value, torch.Tensor) else None


def _memory(tensor):
    """All elements from the first to the last that the tensor reaches, as a tensor [n]."""
    last = sum(
        stride * (size - 1) for stride, size in zip(tensor.stride(), tensor.shape, strict=True)
    )
    memory = tensor.detach().as_strided((last + 1,), (1,), tensor.storage_offset())
    return torch._neg_view(memory) if memory.is_neg() else memory  # its bytes as a kernel sees them


def _overlapping(tensors):
    """Lists of tensors that share memory, with each other or by way of a third."""
    groups, end, device = [], 0, None
    unique = {id(tensor): tensor for tensor in tensors}.values()
    for tensor in sorted(unique, key=lambda t: (str(t.device), t.data_ptr())):
        start = tensor.data_ptr()
        if not groups or start >= end or tensor.device != device:
            groups.append([])
            end = 0
        groups[-1].append(tensor)
        end, device = max(end, start + _memory(tensor).nbytes), tensor.device
    return groups


def _same(one, other):
    """By bytes, so that NaN is equal to itself."""
    return torch.equal(one.view(torch.uint8), other.view(torch.uint8))
