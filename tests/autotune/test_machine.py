"""The autotuner against its model: any calls, in any order, whatever happens to configs and files.

A failure prints its steps as one line; `--steps LINE` runs a line again.
"""

import dataclasses

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from tests.autotune.faults import FAULTS
from tests.autotune.model import ERRORS, HOOKS, KINDS, RELEASES, Call
from tests.autotune.runner import Mismatch
from tests.autotune.session import ACCIDENTS, DAMAGES, PLACES, Session, replay

SIDES = {"m": (5, 6, 16, 64, 1), "n": (64, 48), "k": (64, 128, 96, 48, 100)}
CHANGES = {
    **SIDES,
    "bits": (None, 2, 4, 8),
    "dtype": ("f16", "bf16", "f32"),
    "device": (0, 1, 2),
    "misaligned": (False, True),
    "by_position": range(7),
    "process": (0, 1),
}
NEIGHBOURS = {48: 64, 64: 48, 96: 128, 100: 128, 128: 96}  # k -> one of its bucket
new_calls = st.builds(Call, **{name: st.sampled_from(values) for name, values in SIDES.items()})
changes = st.sampled_from(sorted(CHANGES)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(CHANGES[name]))
)
processes = st.integers(0, 1)
rarely = st.sampled_from((False, False, False, True))
releases = st.sampled_from([f".{release}" * bool(release) for release in RELEASES])
stages, errors = st.sampled_from((*HOOKS, "all")), st.sampled_from(sorted(ERRORS))
damages = st.sampled_from((*DAMAGES, *ACCIDENTS))
SETTINGS = settings(  # 50 examples by default, 10,000 with --hypothesis-profile=nightly
    max_examples=2 * settings().max_examples, stateful_step_count=25,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
UNTIL_FOUND = settings(
    SETTINGS,
    max_examples=300,
    derandomize=True,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)
ALWAYS = (
    "key without bits",  # L-30, AT-10
    "key without dtype",  # AT-10
    "key without device",  # L-30
    "rounding lets M = 0 through",  # L-31
    "hook skipped once the config is known",  # AT-08
    "hook skipped on the short way",  # AT-08
    "hook lost on disk",  # AT-12
    "zeroed only while tuning",  # L-40
    "pruner drops num_stages",  # L-43
    "pruner drops maxnreg",  # L-43
    "pruner drops pre_hook",  # L-43
    "options lost on the short way",  # AT-16
    "no lock",  # L-39
    "arguments shared by threads",  # AT-07
    "tensors kept",  # L-38, AT-06
    "foreign file trusted",
    "any winner trusted",
    "identity without device",  # AT-13
    "infinite winner kept",  # L-36
    "winner of a shape pruned otherwise",  # L-30
)
SEARCHED = FAULTS if SETTINGS.max_examples > 1000 else ALWAYS  # nightly: all


class Tuning(RuleBasedStateMachine):
    """Draws steps; the session runs each on tuners and model, and compares them."""

    fault = ()
    calls = Bundle("calls")

    def __init__(self):
        super().__init__()
        self.session = Session(self.fault)

    def teardown(self):
        self.session.close()

    def call(self, call):
        self.session.do(f"call.{call}")
        return call

    @initialize(kind=st.sampled_from(("divides", *KINDS)), wrapped=st.booleans())
    def tuner(self, kind, wrapped):
        self.session.do(f"tuner.{kind}" + ".wrapped" * wrapped)

    @initialize(target=calls, call=new_calls)
    def first_call(self, call):
        return self.call(call)

    @rule(target=calls, call=new_calls)
    def another_call(self, call):
        return self.call(call)

    @rule(target=calls, call=calls, change=changes)
    def similar_call(self, call, change):
        return self.call(changed(call, change))

    @rule(call=calls)
    def call_again(self, call):
        self.call(call)

    @rule(call=calls, side=st.sampled_from(sorted(SIDES)))
    def nothing(self, call, side):
        self.call(changed(call, (side, 0)))

    @rule(call=calls)
    def neighbour(self, call):
        """Both may share a winner, if the same configs are left for both."""
        self.call(call)
        self.call(changed(call, ("k", NEIGHBOURS[call.k])))

    @rule(call=calls, drawn=st.lists(changes, min_size=1, max_size=2))
    def threads(self, call, drawn):
        drawn = [(name, value) for name, value in drawn if name != "process"]
        together = [call, *(changed(call, change) for change in drawn)]
        self.session.do("threads." + "_".join(map(str, together)))

    @rule(call=calls, change=changes)
    def warmup(self, call, change):
        self.session.do(f"warmup.{changed(call, change)}")

    @rule(process=processes)
    def clear(self, process):
        self.session.do(f"clear.{process}")

    @rule(call=calls, release=releases)
    def restart(self, call, release):
        self.session.do(f"restart.{call.process}{release}")
        self.call(call)

    @rule(call=calls, change=changes, stages=stages, error=errors, stays=rarely)
    def fail(self, call, change, stages, error, stays):
        self.call(call)
        self.session.do(f"fail.{stages}.{error}")
        self.call(changed(call, ("by_position", 6 - call.by_position)))
        self.call(changed(call, change))
        if not stays:
            self.session.do("heal")

    @rule()
    def heal(self):
        self.session.do("heal")

    @rule(call=calls, damage=damages)
    def damage(self, call, damage):
        self.session.do(f"damage.{damage}.{call}")
        self.session.do(f"clear.{call.process}")
        self.call(call)

    @rule(call=calls, place=st.sampled_from(PLACES), stays=rarely)
    def folder(self, call, place, stays):
        self.session.do(f"folder.{place}")
        self.restart(call, "")
        if not stays:
            self.session.do("folder.ok")

    @rule(call=calls, change=changes, stays=rarely)
    def capture(self, call, change, stays):
        self.session.do("capture.on")
        self.call(changed(call, change))
        if not stays:
            self.session.do("capture.off")


def changed(call, change):
    return dataclasses.replace(call, **dict([change]))


def faulty(patches):
    """A machine over a faulty tuner, which collects the lines that failed."""

    class Faulty(Tuning):
        fault, lines = patches, []

        def teardown(self):
            super().teardown()
            self.lines += [self.session.failed] * bool(self.session.failed)

    return Faulty


@pytest.mark.bug("L-29 L-30 L-31 L-36 L-37 L-39 L-40 L-41 L-46 AT-12 AT-13 AT-16 ST-03")
def test_the_tuner_does_what_its_model_says():
    run_state_machine_as_test(Tuning, settings=SETTINGS)


M5, M6, M64 = (f"m{m}.n64.k64" for m in (5, 6, 64))
A, A6 = f"call.{M5}", f"call.{M6}"
LINES = {
    # what it shows: the steps
    "dtypes and values of the key have winners of their own": f"{A}-{A}.b8-{A}.f32",  # AT-10 AT-13
    "shapes of one bucket share a winner": f"{A}-{A6}-call.m7.n64.k64-call.m8.n64.k64",
    "a shape whose pruning forbids the winner gets another": (  # L-30 B-08
        "tuner.divides-call.m64.n64.k128.b2-call.m64.n64.k96.b2"
    ),
    "and the other way round": "tuner.divides-call.m64.n64.k96.b2-call.m64.n64.k128.b2",
    "a winner that no longer fits is replaced": f"{A}-fail.3.oor-{A6}-{A}",  # L-30
    "and replaced on disk": f"{A}-fail.3.oor-{A6}-{A6}.p1",  # L-30
    "a config that fails leaves no tensor and no trace": f"fail.2.oor-{A}-{A}",  # L-38 AT-06 B-15
    "a single config is pruned, and nothing is kept": "tuner.single-call.m5.n8.k8",  # L-42 L-36
    "every launch has all options of its config": f"tuner.plain.wrapped-{A}-{A}",  # AT-09 AT-16
    "a config that was found before runs its hook": f"tuner.plain-{A}-{A}.p1-{A}",  # AT-09 AT-12
    "threads tune once": f"threads.{M5}_{M5}_{M5}-clear.0-threads.{M5}_{M6}_{M64}",  # L-39 AT-07
    "where nothing runs, nothing is kept": f"fail.all.crash-{A}-heal-{A}",  # L-36 B-13
    "another process takes what an earlier one found": f"{A}-{A}.p1",  # AT-13
    "a warmup does too": f"{A}-warmup.{M5}.p1-{A}.p1",  # L-46
    **{
        f"a file with damage '{damage}' is ignored and written again": (
            f"{A}-damage.{damage}.{M5}-{A}.p1-restart.0-{A}"
        )
        for damage in DAMAGES
    },
    "a folder in place of a file is ignored, and not replaced": (
        f"{A}-damage.folder.{M5}-{A}.p1-restart.0-{A}"
    ),
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_line_does_what_the_model_says(line):
    replay(line)


@pytest.mark.given_steps
def test_the_given_steps_do_what_the_model_says(given_steps):
    replay(given_steps)


def replay_until_threads_meet(line, patches):
    """Many times: on busy cores they need not meet in the first."""
    for _ in range(20):
        replay(line, patches)


@pytest.mark.parametrize("name", FAULTS)
def test_the_line_of_a_fault_shows_nothing_where_there_is_none(name):
    replay(FAULTS[name].line)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_shows_in_its_line(name):
    with pytest.raises(Mismatch, match=FAULTS[name].words):
        replay_until_threads_meet(FAULTS[name].line, FAULTS[name].patches)


@pytest.mark.parametrize("name", SEARCHED)
def test_the_machine_finds_a_fault_and_prints_a_line_that_shows_it(name):
    """Within 300 examples; and the line shows nothing where there is no fault."""
    machine = faulty(FAULTS[name].patches)
    with pytest.raises((Mismatch, Flaky)):  # threads need not meet in the same way again
        run_state_machine_as_test(machine, settings=UNTIL_FOUND)
    with pytest.raises(Mismatch, match=f"--steps {machine.lines[0]}"):
        replay_until_threads_meet(machine.lines[0], machine.fault)
    replay(machine.lines[0])


@given(call=new_calls, drawn=st.lists(changes))
def test_a_call_reads_what_it_prints(call, drawn):
    for change in drawn:
        call = changed(call, change)
    assert Call.parse(str(call)) == call


@pytest.mark.parametrize(
    "step",
    ["frobnicate", "call.m5.n8", "call.m5.n8.k64.b3", "call.k64.m5.n8", "call.m5.n8.k64.p2",
     "threads.m5.n8.k64_m5.n8.k64.p1", "tuner.slow", "tuner.pruned.twice", "fail.2.noise",
     "restart.0.cuda", "folder.lost"],
)  # fmt: skip
def test_a_step_that_means_nothing_is_refused(step):
    with pytest.raises(ValueError, match=r"wanted|they are|of one process"):
        replay(step)
