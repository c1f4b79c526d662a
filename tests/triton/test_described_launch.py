"""Descriptors are encoded once for each address of x, by launchers as Triton has had them."""

from types import SimpleNamespace

import pytest
import torch

from kernels.uniform_groups.described_launch import MOST, DescribedLaunch

GRID, PACKED, FUNCTION = (4, 2, 1), (4, 1, 512), 77
WEIGHTS, REST = ("words", "scales", "zeros"), (8, 16, True)


class Launcher:
    """As Triton's: `wrap` makes what encodes descriptors around `launched.append`."""

    def __init__(self, wrap, launched, encoded, scratch=0):
        self.global_scratch_size, self.profile_scratch_size = 0, scratch
        self.wrap, self.launch = wrap, wrap(lambda *given: launched.append(given), encoded)

    def __call__(self, x, y, z, stream, function, packed, *given):
        self.wrap.called(self.launch, (x, y, z, stream, function, 0, 1), packed, given)


def encode(value, encoded):
    if not isinstance(value, SimpleNamespace):
        return [value]
    encoded.append(value.base)
    return [("map", value.base.data_ptr()), *value.shape]


def flat(launcher, encoded):
    def inner(*given):
        launcher(*[each for value in given for each in encode(value, encoded)])

    return inner


def listed(launcher, encoded):
    def inner(*given):
        *outer, values = given
        launcher(*outer, [each for value in values for each in encode(value, encoded)])

    return inner


def unknown(launched, encoded):
    def inner(*given):
        launched(*[each for value in given for each in encode(value, encoded)])

    return inner


flat.called = unknown.called = lambda launch, about, packed, given: launch(*about, packed, *given)
listed.called = lambda launch, about, packed, given: launch(*about, packed, *given[:3], given[3:])


def launches_of(wrap, scratch=0):
    launched, encoded = [], []
    kernel = SimpleNamespace(run=Launcher(wrap, launched, encoded, scratch), function=FUNCTION,
                             packed_metadata=PACKED)  # fmt: skip
    described = SimpleNamespace(base=torch.zeros(1), shape=[5, 32])
    return DescribedLaunch(kernel, GRID, described, WEIGHTS, REST), launched, encoded


@pytest.mark.parametrize("wrap", [flat, listed, unknown])
def test_each_launch_is_the_one_that_triton_makes(wrap):
    launch, launched, encoded = launches_of(wrap)
    some = [torch.zeros(5, 32) for _ in range(3)]
    for turn in range(4):
        for x in some:
            launch.run(1000 + turn, x, 1, 2, turn)
            given = ("map", x.data_ptr()), 5, 32, *WEIGHTS, 1, 2, turn, *REST
            hooks = None, None, None
            last = (*hooks, list(given)) if wrap is listed else (*hooks, *given)
            assert launched.pop() == (*GRID, 1000 + turn, FUNCTION, 0, 1, PACKED, *last)
            assert not launched
    assert len(encoded) == (12 if wrap is unknown else 3)


def test_a_launch_that_wants_memory_is_left_to_triton():
    launch, launched, encoded = launches_of(flat, scratch=64)
    x = torch.zeros(5, 32)
    for _ in range(2):
        launch.run(1, x, 1, 2, 3)
    assert len(launched) == len(encoded) == 2


def test_not_more_addresses_are_remembered_than_that():
    launch, _, encoded = launches_of(flat)
    some = [torch.zeros(5, 32) for _ in range(MOST + 1)]
    for x in (*some, some[-1], some[0]):
        launch.run(1, x, 1, 2, 3)
    assert len(encoded) == MOST + 2
