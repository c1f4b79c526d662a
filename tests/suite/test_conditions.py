"""Conditions around a call: each sees a fault that no other sees, and blames no right kernel."""

import signal
import sys
import threading
from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from torch.utils import deterministic

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.axes import (
    AUTOCAST_FILLS,
    CONDITIONS,
    ON_A_GPU,
    STATES,
    USUAL_CONDITIONS,
    may_take_place_in,
)
from gptq_fuzz.case.backend import PLAIN_LIMITS, Backend, Limits, from_callable
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.history import AMBIENT
from gptq_fuzz.case.only import narrowed
from gptq_fuzz.museum import parts
from gptq_fuzz.museum.catalogue import MUSEUM, correct, faulty
from gptq_fuzz.oracle.conditions import many, threads
from gptq_fuzz.oracle.conditions.ambient import CONTEXTS
from gptq_fuzz.oracle.conditions.table import CONDITIONS as JUDGES
from gptq_fuzz.oracle.conditions.threads import Turns, Unended, _spread, in_threads
from gptq_fuzz.oracle.examination import Examination, Request
from gptq_fuzz.oracle.surroundings import differing, global_state
from gptq_fuzz.search.coverage import classes
from gptq_fuzz.search.pairwise import covering_cases, possible_values
from gptq_fuzz.search.strategies import cases, refusals
from gptq_fuzz.worker.loader import load
from tests.suite.helpers import WIDE, drawn, examination

pytestmark = pytest.mark.turns(8)

ALONE = [exhibit for exhibit in faulty() if exhibit.only in CONDITIONS]
IN_A_STATE = [exhibit for exhibit in faulty() if exhibit.only == "states"]
ON_A_CPU = tuple(name for name in CONDITIONS if name not in ON_A_GPU)
SLOW = ("opcheck", "compile")  # torch imports its compiler
LINES = (
    *("m3-n8-k64-b4-g32{}", "m1-n8-k8-b8-gall{}-randn", "m3-n16-k48-b8-g16-act{}-randn-s1"),
    "m2-n4-k4-b8-gall{}-onehot-s3",
)
PIECES_ON_A_GPU = {"stream": "default_stream", "graph": "graph_adds_onto_last_replay"}
RIGHT = (
    *("scratch_behind_a_lock", "imports_when_called", "cached_by_identity", "zero_folded"),
    *("prepared", "staged_behind_a_lock", "weight_awaited"),
)


def verdicts_on(spec, condition, device="cpu"):
    """On a few lines under a condition, each by the kernel as a new process loads it."""
    found = []
    for line in LINES:
        backend = load(spec, ".")
        dtype = "-f32" if backend.limits.dtypes == ("f32",) else ""
        case = Case.parse(line.format(dtype) + f"-{condition}" * bool(condition))
        exam = Examination(backend, case, device, Request(()))
        found.append(exam.verdict())
    return found


@pytest.mark.parametrize(
    "exhibit",
    [pytest.param(e, marks=pytest.mark.slow if e.only in SLOW else (), id=e.name) for e in ALONE],
)
def test_a_condition_sees_what_no_other_sees(exhibit):
    condition = exhibit.only
    promised = load(exhibit.spec, ".").limits.conditions
    for other in ("", *(c for c in promised if c in ON_A_CPU)):
        found = [verdict for verdict in verdicts_on(exhibit.spec, other) if not verdict.ok]
        assert bool(found) == (other == condition), other
        assert {verdict.kind for verdict in found} <= set(exhibit.verdicts)
        assert all(condition in v.message or v.check == "repeat" for v in found)


@pytest.mark.parametrize("exhibit", IN_A_STATE, ids=lambda exhibit: exhibit.name)
def test_a_condition_in_a_state_sees_what_neither_sees_alone(exhibit):
    promised = [c for c in load(exhibit.spec, ".").limits.conditions if c in ON_A_CPU]
    for condition in ("", *promised):
        assert {verdict.kind for verdict in verdicts_on(exhibit.spec, condition)} == {kinds.PASS}
    crossed = [(s, c) for s in STATES for c in may_take_place_in(s) if {s, c} <= {*promised}]
    found = [v for both in crossed for v in verdicts_on(exhibit.spec, "-".join(both)) if not v.ok]
    assert {verdict.kind for verdict in found} <= set(exhibit.verdicts)
    assert found


@pytest.mark.gpu
@pytest.mark.parametrize("condition", ON_A_GPU)
def test_a_condition_of_a_gpu_sees_its_fault(condition):
    spec = f"{MUSEUM}/gpu/{PIECES_ON_A_GPU[condition]}.py:f"
    assert {v.kind for v in verdicts_on(spec, "", "cuda:0")} == {kinds.PASS}
    assert kinds.WRONG in {v.kind for v in verdicts_on(spec, condition, "cuda:0")}


@pytest.mark.gpu
@pytest.mark.parametrize("condition", USUAL_CONDITIONS)
def test_a_right_kernel_passes_under_every_usual_condition_on_a_gpu(condition):
    spec = f"{MUSEUM}/correct/scratch_behind_a_lock.py:f"
    assert {v.kind for v in verdicts_on(spec, condition, "cuda:0")} == {kinds.PASS}


@pytest.mark.gpu
@pytest.mark.parametrize("condition", ["stream", "graph", "opcheck", "compile"])
def test_our_triton_kernels_pass_on_a_gpu(condition):
    triton = load("triton", ".")
    for line in ("m3-n8-k64-b4-g32", "m1-n64-k128-b4-g128-randn", "m17-n64-k96-b4-g32-act-s1"):
        case = Case.parse(f"{line}-{condition}")
        verdict = Examination(triton, case, "cuda:0", Request(())).verdict()
        assert verdict.kind == kinds.PASS, verdict.headline()


def test_every_condition_has_a_judge_and_a_piece():
    assert tuple(JUDGES) == CONDITIONS
    assert tuple(CONTEXTS) == AMBIENT  # those that single steps of a history may have
    assert {*(exhibit.only for exhibit in ALONE), *PIECES_ON_A_GPU} == set(CONDITIONS)


@pytest.mark.parametrize("condition", [c for c in ON_A_CPU if c in USUAL_CONDITIONS])
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_kernel_passes_under_every_usual_condition(name, condition):
    (exhibit,) = [exhibit for exhibit in correct() if exhibit.name == name]
    states = [state for state in STATES if condition in may_take_place_in(state)]
    for line in (condition, *(f"{state}-{condition}" for state in states)):
        assert {verdict.kind for verdict in verdicts_on(exhibit.spec, line)} == {kinds.PASS}


def test_a_kernel_that_does_without_memory_is_right():
    spec = f"{MUSEUM}/correct/does_without_scratch.py:f"
    assert {verdict.kind for verdict in verdicts_on(spec, "oom")} == {kinds.PASS}


@pytest.mark.parametrize(
    ("line", "code"),
    [("stream", "no_gpu"), ("batchinv", "batchinv_not_promised")],
)
def test_what_cannot_be_asked_is_skipped(line, code):
    verdict = examination(from_callable(parts.matmul, "f"), f"m3-n8-k64-b4-g32-{line}").verdict()
    assert (verdict.kind, verdict.message) == (kinds.SKIPPED, code)


def changing(change):
    """A right kernel that makes a change."""

    def f(**operands):
        out = parts.matmul(**operands)
        change()
        return out

    return from_callable(f, "f")


def raises_on_interrupt(*_args):
    raise KeyboardInterrupt


CHANGES = {
    "deterministic mode": lambda: torch.set_deterministic_debug_mode("default"),
    "default device": lambda: torch.set_default_device("meta"),
    "autocast": lambda: torch.set_autocast_enabled("cpu", True),
    "anomaly mode": lambda: torch.autograd.set_detect_anomaly(True),
    "mkldnn": lambda: torch._C._set_mkldnn_enabled(False),
    "what becomes of warnings": lambda: __import__("warnings").simplefilter("ignore"),
    "warning filters": lambda: __import__("warnings").filterwarnings("ignore", "of a kernel"),
    "signal handlers": lambda: __import__("signal").signal(15, raises_on_interrupt),
    "numpy's errors and random state": lambda: __import__("numpy").random.seed(1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_state_that_a_kernel_leaves_changed_is_named(name):
    numpy = pytest.importorskip("numpy")
    before = numpy.random.get_state()[1].tobytes()
    torch.set_deterministic_debug_mode("warn" if name == "deterministic mode" else "default")
    try:
        verdict = examination(changing(CHANGES[name]), "m3-n8-k64-b4-g32").verdict()
        assert verdict.kind == kinds.STATE_LEAKED
        assert verdict.message == f"the kernel changed {name}"
        again = examination(from_callable(parts.matmul, "f"), "m3-n8-k64-b4-g32").verdict()
        assert again.kind == kinds.PASS
        assert numpy.random.get_state()[1].tobytes() == before
    finally:
        torch.set_deterministic_debug_mode("default")


def test_state_set_to_what_is_usual_shows_under_another():
    backend = changing(lambda: torch.set_num_threads(1))
    assert examination(backend, "m3-n8-k64-b4-g32").verdict().kind == kinds.PASS
    verdict = examination(backend, "m3-n8-k64-b4-g32-omp3").verdict()
    assert (verdict.kind, verdict.check) == (kinds.STATE_LEAKED, "omp3")
    assert torch.get_num_threads() == 1


MATMUL = torch.backends.cuda.matmul
PINNED = {  # to the default
    "deterministic mode": lambda: torch.set_deterministic_debug_mode("default"),
    "filling of new memory": lambda: setattr(deterministic, "fill_uninitialized_memory", True),
    "anomaly mode": lambda: torch.autograd.set_detect_anomaly(False),
    "fp16 reduction": lambda: setattr(MATMUL, "allow_fp16_reduced_precision_reduction", True),
    "bf16 reduction": lambda: setattr(MATMUL, "allow_bf16_reduced_precision_reduction", True),
    "random state": lambda: torch.manual_seed(torch.initial_seed()),
    "numpy's errors and random state": lambda: __import__("numpy").seterr(over="warn"),
    "signal handlers": lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    "mkldnn": lambda: torch._C._set_mkldnn_enabled(True),
    "matmul precision": lambda: torch.set_float32_matmul_precision("highest"),
}


@pytest.fixture
def usual_handler():
    """Of SIGINT, which a shell in the background ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("usual_handler")
@pytest.mark.parametrize("name", PINNED)
def test_a_default_that_a_kernel_sets_shows_where_another_value_was(name):
    pytest.importorskip("numpy")
    backend, line = changing(PINNED[name]), "m3-n8-k64-b4-g32"
    torch.manual_seed(0)
    before = global_state()
    assert examination(backend, line).verdict().kind == kinds.PASS
    verdict = examination(backend, f"{line}-other").verdict()
    assert verdict.kind == kinds.STATE_LEAKED
    assert verdict.message == f"under other, the kernel changed {name}"
    assert not differing(before, global_state())


def test_a_result_of_another_precision_of_products_is_not_judged():
    met = []

    def f(**operands):
        met.append(torch.get_float32_matmul_precision())
        return parts.matmul(**operands) + (met[-1] != "highest")

    assert examination(from_callable(f, "f"), "m3-n8-k64-b4-g32-other").verdict().ok
    assert met.count("high") == 1


def noted_at(name):
    return lambda given: setattr(given[name], "_unpacked", 1)


@pytest.mark.parametrize(
    ("condition", "what", "change"),
    [
        ("", "requires_grad of scales", lambda given: given["scales"].requires_grad_()),
        ("", "attributes of x", noted_at("x")),
        ("", "shape, strides of g_idx", lambda given: given["g_idx"].unsqueeze_(0).t_()),
        ("", "version of qzeros", lambda given: given["qzeros"].mul_(1)),
        ("-grad", "requires_grad of x", lambda given: given["x"].requires_grad_(False)),
        ("-grad", "requires_grad, is_leaf, grad_fn of x", lambda given: given["x"].detach_()),
        ("-infer", "attributes of x", noted_at("x")),
        ("", None, noted_at("qweight")),
    ],
)  # fmt: skip
def test_an_operand_is_the_tensor_that_it_was(condition, what, change):
    def f(**given):
        out = parts.matmul(**given)
        with suppress(RuntimeError):  # some are for a leaf, some for others
            change(given)
        return out

    verdict = examination(from_callable(f, "f"), f"m3-n8-k64-b4-g32{condition}").verdict()
    assert (verdict.kind == kinds.INPUT_CHANGED) == bool(what), verdict.headline()
    assert not what or what in verdict.message.replace("version, ", "")


def test_an_exception_late_in_many_calls_names_its_call():
    calls = []

    def f(**operands):
        calls.append(None)
        if len(calls) % many.FEWEST == 0:
            raise RuntimeError("out of handles")
        return parts.matmul(**operands)

    verdict = examination(from_callable(f, "f"), "m3-n8-k64-b4-g32-calls500").verdict()
    assert verdict.kind == kinds.RAISED
    assert f"at call {many.FEWEST} of the same: RuntimeError: out of handles" in verdict.message


def test_an_x_of_inference_mode_comes_with_weights_that_are_kept():
    seen = []

    def f(*, x, qweight, **others):
        seen.append((x.is_inference(), qweight.is_inference()))
        return parts.matmul(x=x, qweight=qweight, **others)

    assert examination(from_callable(f, "f"), "m3-n8-k64-b4-g32-infer").verdict().ok
    assert seen[0] == (True, False)  # scratch memory is made there, or nowhere
    assert seen[-1] == (False, False)
    assert not any(layer for _, layer in seen)


def test_threads_take_turns_until_one_ends():
    turns = Turns()
    turns.end()
    turns.next(0)
    turns.next(1)  # nobody is waited for


def unpacking_once(unpack):
    """A kernel that keeps the weight of each layer, as `unpack(show, make)` puts it there."""
    kept = {}  # id of qweight -> qweight, weight

    def f(*, x, qweight, qzeros, scales, g_idx, bits):
        state = [part._version for part in (qweight, qzeros, scales, g_idx)]
        held, seen, weight = kept.get(id(qweight), (None, None, None))
        if held is not qweight or seen != state:

            def show(weight):
                kept[id(qweight)] = qweight, state, weight
                return weight

            weight = unpack(show, lambda: parts.weights(qweight, qzeros, scales, g_idx, bits))
        return parts.multiply(x, weight)

    return from_callable(f, "f")


def shown_before_its_last_operator(show, make):
    weight = make()
    return show(torch.empty_like(weight)).copy_(weight)


@pytest.mark.parametrize("line", ["m1-n8-k8-b8-gall", "m3-n8-k64-b4-g32", "m2-n64-k512-b4-g64-s5"])
def test_threads_meet_before_each_operator_of_a_first_call_where_there_is_time(line):
    backend = unpacking_once(shown_before_its_last_operator)
    verdict = examination(backend, f"{line}-threads2", Request((), calls=2)).verdict()
    assert (verdict.kind, verdict.check) == (kinds.STATE_LEAKED, "threads2")
    assert _spread(0, line) == []
    for count in range(1, 70):
        assert sorted(_spread(count, line)) == list(range(count))


@pytest.mark.parametrize("line", LINES)
def test_a_first_call_that_holds_a_lock_is_waited_for(line):
    lock = threading.Lock()

    def behind_a_lock(show, make):
        with lock:
            return show(make())

    verdict = examination(unpacking_once(behind_a_lock), line.format("") + "-threads2").verdict()
    assert verdict.kind == kinds.PASS


@pytest.mark.parametrize("line", LINES)
def test_a_call_that_waits_for_one_that_was_broken_off_must_end(line, monkeypatch):
    monkeypatch.setattr(threads, "LONGEST", 0.1)
    lock, ended = threading.Lock(), threading.Event()

    def behind_a_lock_that_is_kept(show, make):
        while not lock.acquire(timeout=0.01):
            if ended.is_set():
                raise RuntimeError("nobody waits any longer")
        weight = show(make())
        lock.release()
        return weight

    backend = unpacking_once(behind_a_lock_that_is_kept)
    verdict = examination(backend, line.format("") + "-threads2").verdict()
    ended.set()
    assert (verdict.kind, verdict.check) == (kinds.TIMED_OUT, "threads2"), verdict.headline()
    assert "broken off by an error" in verdict.message


def test_a_thread_is_waited_for_as_long_as_is_said():
    ended = threading.Event()
    with pytest.raises(Unended, match="no end within"):
        in_threads("cpu", lambda number: number and ended.wait(60), seconds=0.01)
    ended.set()
    assert in_threads("cpu", lambda number: number, 3, seconds=60) == [0, 1, 2]
    with pytest.raises(ZeroDivisionError):
        in_threads("cpu", lambda number: 1 / number)


def loading(load):
    """A kernel whose layers are what `load` makes of their weights; `f(layer)` is the weight."""

    def prepare(*, qweight, qzeros, scales, g_idx, bits, **_described):
        return load(lambda: parts.weights(qweight, qzeros, scales, g_idx, bits))

    def run(state, *, x):
        return parts.multiply(x, state())

    return Backend("f", Limits(bad=(), refuses_outside=False), prepare=prepare, run=run)


def in_a_place_taken_late():
    """A layer's place in a list is taken before its weight is made, and its own only then."""
    kept = []

    def load(make):
        place = len(kept)
        weight = make()
        kept.insert(place, weight)
        return lambda: kept[place]

    return loading(load)


def of_a_lock_that_is_kept():
    lock = threading.Lock()

    def load(make):
        if not lock.acquire(timeout=1):
            raise RuntimeError("the lock is taken")
        weight = make()
        lock.release()
        return lambda: weight

    return loading(load)


@pytest.mark.parametrize(
    ("backend", "kind"),
    [(in_a_place_taken_late(), kinds.STATE_LEAKED), (of_a_lock_that_is_kept(), kinds.RAISED)],
    ids=["place", "lock"],
)
def test_threads_load_layers_at_once(backend, kind):
    for line in LINES:
        assert examination(backend, line.format("")).verdict().ok
    verdict = examination(backend, "m3-n8-k64-b4-g32-threads2").verdict()
    assert (verdict.kind, verdict.check) == (kind, "threads2"), verdict.headline()
    assert "each thread loaded a layer" in verdict.message


def test_a_condition_is_one_token_of_the_line():
    for condition in CONDITIONS:
        line = f"m3-n8-k64-b4-g32-s7-{condition}"
        assert str(Case.parse(line)) == line
        assert Case.parse(line).condition == condition
    for state in STATES:
        for condition in may_take_place_in(state):
            line = f"m3-n8-k64-b4-g32-s7-{state}-{condition}"
            case = Case.parse(line)
            assert (str(case), case.state, case.condition) == (line, state, condition)
    for line in (
        *("bwd-det", "f32-autocast", "wide-autocast", "badgidx-omp3"),
        *("det-omp3", "omp3-omp3", "det-other", "defbf16-deff16", "nograd-infer"),
        *("f32-autocast-threads2", "omp3-det-threads2", "nograd-graph", "threads2-calls500"),
    ):
        with pytest.raises(ValueError, match="case"):
            Case.parse(f"m3-n8-k64-b4-g32-{line}")


def test_a_plain_kernel_is_asked_under_each_usual_condition_several_times():
    promised = set(PLAIN_LIMITS.without(ON_A_GPU).conditions)
    limits = PLAIN_LIMITS.without(ON_A_GPU)
    met = [case.condition for case in covering_cases(limits, 3)]
    assert set(met) == {"", *promised}
    assert min(met.count(condition) for condition in promised) >= 3
    assert met.count("") > len(met) / 2
    often = [case.condition for case in drawn(cases(limits), 400)]
    assert often.count("") > len(often) / 2
    of_sums = {case.condition for case in drawn(cases(limits, "randn"), 400)}
    assert {*often, *of_sums} >= promised
    crossed = {(case.state, case.condition) for case in covering_cases(limits, 2)}
    assert crossed >= {(s, c) for s in STATES for c in may_take_place_in(s) if {s, c} <= promised}
    assert any(case.state for case in drawn(cases(limits), 400))


@pytest.mark.parametrize("limits", [PLAIN_LIMITS, WIDE, replace(WIDE, conditions=CONDITIONS)])
def test_drawn_cases_are_under_what_is_promised(limits):
    possible = possible_values(limits)["condition"]
    refused = drawn(refusals(limits), 50) if limits.bad else []
    for case in drawn(cases(limits), 200) + refused:
        assert classes(case)["condition"] in possible
        assert not (case.bad and case.condition)
    for case in covering_cases(limits, 2):
        if case.condition == "autocast":
            assert case.dtype != "f32"
            assert case.fill in AUTOCAST_FILLS


def test_limits_without_room_for_a_condition_do_not_count_it():
    assert "autocast" not in possible_values(Limits(dtypes=("f32",)))["condition"]
    assert "calls500" not in possible_values(Limits(n_multiple=512))["condition"]
    assert possible_values(replace(PLAIN_LIMITS, conditions=()))["condition"] == ("none",)


def test_only_chooses_among_conditions():
    assert narrowed(PLAIN_LIMITS, "omp3-det").conditions == ("omp3", "det")
    with pytest.raises(ValueError, match="conditions are"):
        narrowed(PLAIN_LIMITS, "graph")


def test_opcheck_wants_an_operator():
    with pytest.raises(TypeError, match="wants an operator"):
        Backend("f", Limits(conditions=("opcheck",)), matmul=TORCH.matmul)


def test_one_thread_of_the_interpreter_is_not_asked_for_two(monkeypatch):
    class GridExecutor:
        def __call__(self):
            return None

    interpreter = type(sys)("triton.runtime.interpreter")
    interpreter.GridExecutor = GridExecutor
    monkeypatch.setitem(sys.modules, "triton.runtime.interpreter", interpreter)

    def f(**operands):
        interpreter.GridExecutor()()
        return parts.matmul(**operands)

    verdict = examination(from_callable(f, "f"), "m3-n8-k64-b4-g32-threads2").verdict()
    assert (verdict.kind, verdict.message) == (kinds.SKIPPED, "interpreter_has_one_thread")
    verdict = examination(from_callable(parts.matmul, "f"), "m3-n8-k64-b4-g32-threads2").verdict()
    assert verdict.kind == kinds.PASS
