"""The model behind the steps sees an extension that breaks its word; a death is told."""

import ctypes

import pytest
import torch

from kernels import exllama
from tests.exllama import steps as exllama_steps
from tests.exllama.parts import Actor, build_or_skip
from tests.exllama.refusals import strided
from tests.exllama.steps import Violation, World

PREFIX = "make-n8-k64-b4-g32-act/prep-512-512"


class Breaker:
    """The functions of the extension, one of them replaced."""

    CPU = exllama.CPU

    def __init__(self, name, broken):
        for known in ("set_tuning_params", "prepare_buffers", "cleanup", "make_q4", "q4_matmul"):
            setattr(self, known, getattr(exllama, known))
        setattr(self, name, broken)


def one_element_off(x, w, out):
    exllama.q4_matmul(x, w, out)
    out[-1, -1] += 1


def writes_behind(x, w, out):
    exllama.q4_matmul(x, w, out)
    out.as_strided((1,), (1,), out.storage_offset() + out.numel()).fill_(1)


def changes_x(x, w, out):
    exllama.q4_matmul(x, w, out)
    x.neg_()


def writes_then_raises(x, w, out):
    out.zero_()
    exllama.q4_matmul(x, w, out)


def never_raises(x, w, out):
    try:
        exllama.q4_matmul(x, w, out)
    except (TypeError, ValueError, RuntimeError):
        out.zero_()


def changes_weights(**operands):
    handle = exllama.make_q4(**operands)
    operands["qweight"].neg_()
    return handle


KEPT = []


def keeps_memory(x, w, out):
    if not KEPT:  # what earlier tests freed lies in the heap still, and would hide what is kept
        ctypes.CDLL(None).malloc_trim(0)
    KEPT.append(torch.ones(2**14))
    exllama.q4_matmul(x, w, out)


@pytest.mark.parametrize(
    ("name", "broken", "steps", "words"),
    [
        ("q4_matmul", one_element_off, "mul-0-3", "1 of 24 elements wrong"),
        ("q4_matmul", writes_behind, "mul-0-3", "rows outside out"),
        ("q4_matmul", changes_x, "mul-0-3", "x was changed"),
        ("q4_matmul", writes_then_raises, "mul-0-9", "wrote before it raised"),
        ("q4_matmul", never_raises, "tune-0-0-0/mul-0-9", "was due: no room"),
        ("q4_matmul", never_raises, "clean/mul-0-3", "an exception was due: the handle"),
        ("q4_matmul", never_raises, "bad-handle0-0", "handle0 was not refused"),
        ("make_q4", changes_weights, "make-n8-k8-b4-gall", "changed qweight"),
        ("cleanup", lambda: None, "clean/mul-0-3", "an exception was due"),
        ("prepare_buffers", lambda *given: None, "prep-2048-2048/mul-0-9", "raised"),
        ("q4_matmul", keeps_memory, "loop-0-500", "rounds took"),
    ],
)
def test_a_broken_promise_is_a_violation(monkeypatch, name, broken, steps, words):
    build_or_skip("cpu")
    world = World("cpu")
    for step in PREFIX.split("/"):
        world.do(step)
    monkeypatch.setattr(exllama_steps, "exllama", Breaker(name, broken))
    *before, last = steps.split("/")
    for step in before:
        world.do(step)
    with pytest.raises(Violation, match=words):
        world.do(last)
    KEPT.clear()


def test_a_dead_process_is_told_and_replaced():
    build_or_skip("cpu")
    actor = Actor("cpu")
    actor.begin()
    actor.process.kill()
    with pytest.raises(pytest.fail.Exception, match=r"exit status -9\n.*--steps clean$"):
        actor.step("clean")
    actor.begin()
    actor.step("clean")
    actor.bury("")


@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 8), (3, 1), (3, 4)])
def test_what_is_strided_on_purpose_is_not_contiguous(shape):
    """qzeros of one word and one group once was, and no refusal was due."""
    assert not strided(torch.zeros(shape)).is_contiguous()
