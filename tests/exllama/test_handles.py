"""What the extension hands out and holds on to: its functions, handles, scratch memory."""

import itertools
import weakref

import pytest
import torch

from kernels import exllama
from tests.exllama.layers import fresh, parts
from tests.exllama.parts import build_or_skip

__all__ = ["fresh"]
pytestmark = pytest.mark.usefixtures("fresh")
WORD = 2**64
NEAR = 2**38  # what one xor with a number's own upper bits can change, four times over


def handles(device, count):
    """Of one matrix, made so many times."""
    weights = parts(device)
    operands = [weights[name] for name in ("qweight", "qzeros", "scales")]
    number = exllama.CPU if device == "cpu" else 0
    return [exllama.make_q4(*operands, None, number) for _ in range(count)]


def test_the_functions_are_those_of_the_original_in_its_order(device):
    names = [name for name in vars(build_or_skip(device)) if not name.startswith("__")]
    five = ["set_tuning_params", "prepare_buffers", "cleanup", "make_q4", "q4_matmul"]
    assert names == five


@pytest.mark.bug("L-66")
def test_no_handle_follows_from_others(device):
    """Handles that are made at equal steps do not lie at equal steps, nor nearly so."""
    made = handles(device, 24)
    for step, first in itertools.product((1, 2, 4, 8), range(8)):
        one, two, three = made[first : first + 2 * step + 1 : step]
        off = (one - 2 * two + three) % WORD
        assert min(off, WORD - off) > NEAR, (one, two, three)


@pytest.mark.bug("BF-03")
def test_scratch_memory_lives_until_cleanup_though_the_caller_lets_go(device):
    """The build itself holds it, not only the module around it."""
    build = build_or_skip(device)
    buffers = [torch.zeros(8, dtype=torch.half, device=device) for _ in range(2)]
    build.prepare_buffers(buffers[0].device, *buffers)
    known = [weakref.ref(buffer) for buffer in buffers]
    del buffers
    assert all(ref() is not None for ref in known)
    build.cleanup()
    assert all(ref() is None for ref in known)
