"""The five functions in any order, in a process of their own: right, or refused, and never a crash.

A failing run of steps is one line; `--steps LINE` replays it. The model behind the steps is tested
too: it sees an extension that breaks its word.
"""

import contextlib
import ctypes
import itertools
import types

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gptq_fuzz.plugin.options import asked_of
from kernels import exllama
from tests.exllama import steps as model
from tests.exllama.parts import DEVICES, Actor, build_or_skip
from tests.exllama.refusals import ON_A_GPU, REFUSALS, strided
from tests.exllama.steps import Violation, World

pytestmark = pytest.mark.turns(2)

GPUS = torch.cuda.device_count()
ROUNDS = 100_000 if settings().max_examples > 1000 else 5_000  # all in the nightly profile
PREFIX = "make-n8-k64-b4-g32-act/prep-512-512"
REFUSED = [name for name in REFUSALS if name not in ON_A_GPU]
NS, KS, GROUPS = (8, 16, 40, 72), (8, 32, 64, 96, 160), ("gall", "g8", "g32", "g24", "g1")
ROWS = (1, 8, 9, 0, 2, 7, 16, 33, 63, 64, 65, 72)


@pytest.fixture(scope="module", params=DEVICES)
def actor(request):
    build_or_skip(request.param.split(":")[0])
    actor = Actor(request.param)
    yield actor
    actor.stop("")


class Calls(RuleBasedStateMachine):
    """Draws steps; the model in steps.py knows what they must do."""

    def __init__(self, actor):
        super().__init__()
        self.actor = actor
        self.handles = self.graphs = 0

    @initialize()
    def begin(self):
        self.actor.begin()

    @rule(
        threshold=st.sampled_from(("8", "0", "1", "f1", "f8", "f64")),
        fused=st.sampled_from("01"),
        no_half2=st.sampled_from("01"),
    )
    def tune(self, threshold, fused, no_half2):
        self.actor.step(f"tune-{threshold}-{fused}-{no_half2}")

    @rule(
        state=st.sampled_from((2**14, 0, 64, 512, 2048)),
        dq=st.sampled_from((2**14, 0, 64, 512, 2048)),
    )
    def prepare(self, state, dq):
        self.actor.step(f"prep-{state}-{dq}")

    @rule(
        n=st.sampled_from(NS),
        k=st.sampled_from(KS),
        group=st.sampled_from(GROUPS),
        order=st.sampled_from(("", "-act", "-rev", "-mix", "-one")),
        seed=st.integers(0, 9),
    )
    def make(self, n, k, group, order, seed):
        self.actor.step(f"make-n{n}-k{k}-b4-{group}{order}" + f"-s{seed}" * bool(seed))
        self.handles += 1

    @precondition(lambda self: self.handles)
    @rule(
        handle=st.integers(0, 99),
        rows=st.sampled_from(ROWS),
        how=st.sampled_from(("", "", "-pad", "-side")),
    )
    def multiply(self, handle, rows, how):
        self.actor.step(f"mul-{handle % self.handles}-{rows}{how}")

    @precondition(lambda self: self.handles)
    @rule(handle=st.integers(0, 99))
    def spoil(self, handle):
        self.actor.step(f"spoil-{handle % self.handles}")

    @precondition(lambda self: self.handles)
    @rule(handle=st.integers(0, 99), name=st.sampled_from(REFUSED))
    def refuse(self, handle, name):
        self.actor.step(f"bad-{name}-{handle % self.handles}")

    @rule()
    def clean(self):
        self.actor.step("clean")

    @precondition(lambda self: GPUS and self.handles and self.actor.device != "cpu")
    @rule(handle=st.integers(0, 99), rows=st.sampled_from((1, 8, 65)))
    def grab(self, handle, rows):
        self.actor.step(f"grab-{handle % self.handles}-{rows}")
        self.graphs += 1

    @precondition(lambda self: self.graphs)
    @rule(number=st.integers(0, 99))
    def replay(self, number):
        self.actor.step(f"replay-{number % self.graphs}")

    @precondition(lambda self: GPUS > 1 and self.actor.device != "cpu")
    @rule(number=st.sampled_from(range(2)))
    def on(self, number):
        self.actor.step(f"on-{number}")


@pytest.mark.bug(
    "L-47 L-59 L-60 L-61 L-62 L-65 L-66 L-67 L-70 BF-01 BF-02 BF-03 BF-04 BF-07 BF-08 B-19"
    " B-20 B-21 B-22 B-23 B-25"
)
def test_calls_in_any_order_are_right_or_refused(actor):
    machine = settings(
        deadline=None, stateful_step_count=30, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(lambda: Calls(actor), settings=machine)


@pytest.mark.given_steps
def test_the_given_steps_are_right_or_refused(given_steps, request):
    actor = Actor(asked_of(request.config).device or ("cuda:0" if GPUS else "cpu"))
    build_or_skip(actor.device.split(":")[0])
    actor.begin()
    try:
        for step in given_steps.split("/"):
            actor.step(step)
    finally:
        actor.stop("")


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


@pytest.mark.parametrize("k", KS)
def test_a_refusal_is_due_wherever_one_is_drawn(actor, k):
    """A wrong number of groups, say, is right for some K: such a draw would fail by chance."""
    names = [name for name in REFUSALS if name not in ON_A_GPU or actor.device != "cpu"]
    actor.begin()
    for number, (n, group) in enumerate(itertools.product((min(NS), max(NS)), GROUPS)):
        actor.step(f"make-n{n}-k{k}-b4-{group}")
        for name in names:
            actor.step(f"bad-{name}-{number}")


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
        "make-n16-k64-b4-g32-act/mul-0-3/mul-1-72",  # L-62, BF-07: twice from the same tensors
    ],
)
def test_what_is_forgotten_or_too_small_is_refused(ready, steps):
    """Each is the shortest run of one entry, see there."""
    for step in steps.split("/"):
        ready.step(step)


@pytest.mark.bug("L-65 BF-05")
def test_many_rounds_leave_no_memory_behind(ready):
    ready.step(f"loop-0-{ROUNDS}")


FUNCTIONS = ("set_tuning_params", "prepare_buffers", "cleanup", "make_q4", "q4_matmul")
KEPT = []


def then(change):
    """q4_matmul, and `change` of x and out after it."""

    def q4_matmul(x, w, out):
        exllama.q4_matmul(x, w, out)
        change(x, out)

    return q4_matmul


def writes_behind(x, out):
    out.as_strided((1,), (1,), out.storage_offset() + out.numel()).fill_(1)


def keeps_memory(x, out):
    if not KEPT:  # what earlier tests freed lies in the heap still, and would hide what is kept
        ctypes.CDLL(None).malloc_trim(0)
    KEPT.append(torch.ones(2**14))


def writes_then_raises(x, w, out):
    exllama.q4_matmul(x, w, out.zero_())


def never_raises(x, w, out):
    with contextlib.suppress(TypeError, ValueError, RuntimeError):
        return exllama.q4_matmul(x, w, out)
    out.zero_()


def changes_weights(**operands):
    handle = exllama.make_q4(**operands)
    operands["qweight"].neg_()
    return handle


@pytest.mark.parametrize(
    ("name", "broken", "steps", "words"),
    [
        (
            "q4_matmul",
            then(lambda x, out: out[-1, -1].add_(1)),
            "mul-0-3",
            "1 of 24 elements wrong",
        ),
        ("q4_matmul", then(writes_behind), "mul-0-3", "rows outside out"),
        ("q4_matmul", then(lambda x, out: x.neg_()), "mul-0-3", "x was changed"),
        ("q4_matmul", writes_then_raises, "mul-0-9", "wrote before it raised"),
        ("q4_matmul", never_raises, "tune-0-0-0/mul-0-9", "was due: no room"),
        ("q4_matmul", never_raises, "clean/mul-0-3", "an exception was due: the handle"),
        ("q4_matmul", never_raises, "bad-handle0-0", "handle0 was not refused"),
        ("make_q4", changes_weights, "make-n8-k8-b4-gall", "changed qweight"),
        ("cleanup", lambda: None, "clean/mul-0-3", "an exception was due"),
        ("prepare_buffers", lambda *given: None, "prep-2048-2048/mul-0-9", "raised"),
        ("q4_matmul", then(keeps_memory), "loop-0-500", "rounds took"),
    ],
)
def test_a_broken_promise_is_a_violation(monkeypatch, name, broken, steps, words):
    build_or_skip("cpu")
    world = World("cpu")
    for step in PREFIX.split("/"):
        world.do(step)
    extension = {each: getattr(exllama, each) for each in (*FUNCTIONS, "CPU")}
    monkeypatch.setattr(model, "exllama", types.SimpleNamespace(**extension | {name: broken}))
    *before, last = steps.split("/")
    for step in before:
        world.do(step)
    with pytest.raises(Violation, match=words):
        world.do(last)
    KEPT.clear()


def test_a_dead_process_is_reported_and_replaced():
    build_or_skip("cpu")
    actor = Actor("cpu")
    actor.begin()
    actor.process.kill()
    with pytest.raises(pytest.fail.Exception, match=r"exit status -9\n.*--steps clean$"):
        actor.step("clean")
    actor.begin()
    actor.step("clean")
    actor.stop("")


@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 8), (3, 1), (3, 4)])
def test_what_is_strided_on_purpose_is_not_contiguous(shape):
    """qzeros of one word and one group once was, and no refusal was due."""
    assert not strided(torch.zeros(shape)).is_contiguous()
