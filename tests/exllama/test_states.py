"""The five functions in any order, in a process of their own: right, or refused, and never a crash.

A failing run of steps is one line; `--steps LINE` replays it.
"""

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
from tests.exllama.parts import Actor, actor, build_or_skip
from tests.exllama.refusals import ON_A_GPU, REFUSALS

__all__ = ["actor"]
GPUS = torch.cuda.device_count()
REFUSED = [name for name in REFUSALS if name not in ON_A_GPU]
ROWS = (1, 8, 9, 0, 2, 7, 16, 33, 63, 64, 65, 72)


class Calls(RuleBasedStateMachine):
    """Draws steps; what they must do is known to the model in exllama_steps."""

    def __init__(self, actor):
        super().__init__()
        self.actor = actor
        self.made = self.graphs = 0

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
        n=st.sampled_from((8, 16, 40, 72)),
        k=st.sampled_from((8, 32, 64, 96, 160)),
        group=st.sampled_from(("gall", "g8", "g32", "g24", "g1")),
        order=st.sampled_from(("", "-act", "-rev", "-mix", "-one")),
        seed=st.integers(0, 9),
    )
    def make(self, n, k, group, order, seed):
        self.actor.step(f"make-n{n}-k{k}-b4-{group}{order}" + f"-s{seed}" * bool(seed))
        self.made += 1

    @precondition(lambda self: self.made)
    @rule(
        handle=st.integers(0, 99),
        rows=st.sampled_from(ROWS),
        how=st.sampled_from(("", "", "-pad", "-side")),
    )
    def multiply(self, handle, rows, how):
        self.actor.step(f"mul-{handle % self.made}-{rows}{how}")

    @precondition(lambda self: self.made)
    @rule(handle=st.integers(0, 99))
    def spoil(self, handle):
        self.actor.step(f"spoil-{handle % self.made}")

    @precondition(lambda self: self.made)
    @rule(handle=st.integers(0, 99), name=st.sampled_from(REFUSED))
    def refuse(self, handle, name):
        self.actor.step(f"bad-{name}-{handle % self.made}")

    @rule()
    def clean(self):
        self.actor.step("clean")

    @precondition(lambda self: GPUS and self.made and self.actor.device != "cpu")
    @rule(handle=st.integers(0, 99), rows=st.sampled_from((1, 8, 65)))
    def grab(self, handle, rows):
        self.actor.step(f"grab-{handle % self.made}-{rows}")
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
def test_any_order_of_calls_is_answered_rightly(actor):
    machine = settings(
        deadline=None, stateful_step_count=30, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(lambda: Calls(actor), settings=machine)


@pytest.mark.given_steps
def test_the_given_steps_are_answered_rightly(given_steps, request):
    actor = Actor(asked_of(request.config).device or ("cuda:0" if GPUS else "cpu"))
    build_or_skip(actor.device.split(":")[0])
    actor.begin()
    try:
        for step in given_steps.split("/"):
            actor.step(step)
    finally:
        actor.bury("")
