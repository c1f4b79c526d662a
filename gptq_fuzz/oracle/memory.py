"""Memory that tensors get again once nobody holds the ones before.

An allocator gives freed memory to the next tensor of that size, mostly; here it always does. What
somebody still holds, a view of it too, is not freed, and keeps its memory.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import mmap
import weakref
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import torch

from gptq_fuzz.problem.layouts import POISON, Guarded, GuardedRows, of_its_kind

ALIGNED = 512  # bytes, as torch's allocator on a GPU
TRIES = 2**14  # objects, until Python's allocator has given out all that was free before


@dataclass
class Block:
    """Some memory, and what is alive as long as a tensor uses it."""

    memory: mmap.mmap
    lease: weakref.ref | None = None

    @property
    def is_free(self) -> bool:
        return self.lease is None or self.lease() is None


class Memory:
    """Places for operands on one device; on a GPU its allocator finds them."""

    def __init__(self, device: str):
        self._is_host = not device.startswith("cuda")
        self._blocks: dict[tuple, list[Block]] = defaultdict(list)

    def place(self, operands: dict[str, Guarded]) -> None:
        """Move operands, by name, to where the last free ones of that name and size were.

        Each is a new tensor there, of the version of a new one.
        """
        for name, operand in operands.items():
            if not operand.storage.nbytes or isinstance(operand, GuardedRows):  # not to be moved
                continue
            view = operand.view
            form = view.shape, view.stride(), view.storage_offset()
            # A GPU's allocator gives what was let go last, now that it was.
            operand.storage = (
                self._lent(name, operand) if self._is_host else operand.storage.clone()
            )
            alone = _alone(operand.storage.view(view.dtype).as_strided(*form))
            operand.view = of_its_kind(view, alone)

    def move(self, name: str, operand: Guarded) -> None:
        """Other memory for a tensor that stays the same object, of the same version.

        The memory before is filled with what is no number where nobody holds it.
        """
        if not operand.storage.nbytes or isinstance(operand, GuardedRows):
            return
        view = operand.view
        form = view.shape, view.stride(), view.storage_offset()
        size = operand.storage.nbytes
        operand.storage = self._lent(name, operand) if self._is_host else operand.storage.clone()
        view.data = operand.storage.view(view.dtype).as_strided(*form)
        if self._is_host:
            self.poison()
        else:  # its allocator gives what was let go last
            torch.full((size,), POISON, dtype=torch.uint8, device=view.device)

    def placing_as(self, old: torch.Tensor) -> Callable[[dict[str, Guarded]], None]:
        """`place`, of one operand, whose new tensor has the id of an old one, if that is dead then.

        Between the two that id is a placeholder's, else what `place` makes could get it.
        """
        identity, referred = id(old), weakref.ref(old)

        def place(operands: dict[str, Guarded]) -> None:
            if referred() is not None:  # in a cycle, maybe
                gc.collect(1)
            is_dead = referred() is None  # a kernel may hold it
            held = _with_id(identity, lambda: torch.empty(0)) if is_dead else None
            self.place(operands)
            if held is not None:
                (operand,) = operands.values()
                view, plain = operand.view, operand.view.data
                del held
                renewed = _with_id(identity, lambda: of_its_kind(view, plain))
                operand.view = view if renewed is None else renewed

        return place

    def poison(self) -> None:
        """Fill what nobody holds; a GPU's allocator gives it out as it was."""
        for block in (block for blocks in self._blocks.values() for block in blocks):
            if block.is_free:
                block.memory[:] = bytes([POISON]) * len(block.memory)

    def _lent(self, name: str, operand: Guarded) -> torch.Tensor:
        """The operand's bytes in the block that was lent last of those that are free, or new."""
        size = operand.storage.nbytes
        blocks = self._blocks[name, size]
        free = [block for block in blocks if block.is_free]
        block = free[-1] if free else Block(mmap.mmap(-1, size))
        blocks[:] = [*(each for each in blocks if each is not block), block]
        lease = _lease_of(size).from_buffer(block.memory)
        block.lease = weakref.ref(lease)
        storage = torch.frombuffer(lease, dtype=torch.uint8)
        storage.data.copy_(operand.storage)  # by another tensor: the version does not count it
        return storage


def _alone(view: torch.Tensor) -> torch.Tensor:
    """The same as a tensor of its own, which keeps no other one alive once it lies elsewhere."""
    return view.data


def put_together(operands: list[Guarded]) -> None:
    """Move operands of one form into one storage, each where an allocator could have put it."""
    first = operands[0].storage
    apart = -(-first.nbytes // ALIGNED) * ALIGNED
    whole = torch.empty(len(operands) * apart, dtype=torch.uint8, device=first.device)
    for number, operand in enumerate(operands):
        view, begin = operand.view, number * apart
        place = whole[begin : begin + operand.storage.nbytes]
        place.copy_(operand.storage)
        operand.storage = place
        first_cell = view.storage_offset() + begin // view.element_size()
        operand.view = whole.view(view.dtype).as_strided(view.shape, view.stride(), first_cell)


def _with_id(identity: int, make: Callable[[], torch.Tensor]) -> torch.Tensor | None:
    """What `make` gives, as an object where a dead one was; None where none comes to lie there."""
    others = []
    for _ in range(TRIES):
        made = make()
        if id(made) == identity:
            return made
        others.append(made)
    return None


@functools.cache
def _lease_of(size: int) -> type:
    """A buffer of that size that can be referred to weakly; a tensor keeps it alive."""
    return type("Lease", (ctypes.c_char * size,), {})
