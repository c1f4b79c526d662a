"""Wrong calls are refused with an exception, in a process of their own, and leave no trace."""

import pytest
from hypothesis import settings

from tests.exllama.parts import actor
from tests.exllama.refusals import ON_A_GPU, REFUSALS

__all__ = ["actor"]
ROUNDS = 100_000 if settings().max_examples > 1000 else 20_000  # all in the nightly profile


@pytest.fixture
def ready(actor):
    """A handle, room for its calls, and the knowledge that it works."""
    actor.begin()
    for step in ("make-n16-k64-b4-g32-act", "prep-4096-4096", "mul-0-3"):
        actor.step(step)
    return actor


@pytest.mark.bug("L-54 L-56 L-57 L-58 L-59 L-64 L-66 L-71 GI-01 GI-15 LY-05 B-17 B-19 B-24")
@pytest.mark.parametrize("name", REFUSALS)
def test_a_wrong_call_is_refused_and_leaves_no_trace(ready, name):
    if name in ON_A_GPU and ready.device == "cpu":
        pytest.skip("no_gpu")
    ready.step(f"bad-{name}-0")
    ready.step("mul-0-3")


@pytest.mark.parametrize(
    "steps",
    [
        "clean/mul-0-3",  # L-66, B-20: a handle from before
        "clean/clean/make-n8-k8-b4-gall-s1/mul-1-3/mul-0-3",  # B-20: twice
        "prep-0-0/mul-0-3",  # L-59, BF-01: no room for x
        "prep-191-4096/mul-0-3/prep-192-4096/mul-0-3",  # BF-01: one element short, then enough
        "tune-f1-0-0/prep-0-1023/mul-0-3/prep-0-1024/mul-0-3",  # BF-04: the same for the weights
        "clean/make-n8-k64-b4-g32-act/mul-1-3",  # L-60, BF-02: no buffers at all
        "tune-0-1-1/clean/make-n8-k64-b4-g32-act/mul-1-3",  # B-21, L-70: settings go too
        "spoil-0/mul-0-3",  # B-22, BF-03: the caller's tensors are gone
        "make-n16-k64-b4-g32-act/mul-0-3/mul-1-72",  # L-62, BF-07: made twice
    ],
)
def test_what_is_forgotten_or_too_small_is_refused(ready, steps):
    """Each is the shortest run of one entry, see there."""
    for step in steps.split("/"):
        ready.step(step)


@pytest.mark.bug("L-65 BF-05")
def test_many_rounds_leave_no_memory_behind(ready):
    ready.step(f"loop-0-{ROUNDS}")
