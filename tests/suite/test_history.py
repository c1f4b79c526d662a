"""Histories: the grammar of steps, what is judged after each, how a failure becomes one line.

Faulty kernels of the museum that only a history shows are found here: one always, of the others one
shard, as in test_museum.py.
"""

import copy
import ctypes
import dataclasses
import itertools
import re
import signal
import subprocess
import sys
import threading
import weakref
from contextlib import nullcontext

import pytest
import torch

from gptq_fuzz import Backend
from gptq_fuzz._checkout import ROOT
from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.history import OPERANDS, PARTS, parse_history
from gptq_fuzz.museum import parts
from gptq_fuzz.museum.catalogue import faulty
from gptq_fuzz.oracle import interrupts
from gptq_fuzz.oracle.each_operator import OperatorsCounted
from gptq_fuzz.oracle.history import History, _with, rewritten
from gptq_fuzz.oracle.memory import Memory
from gptq_fuzz.problem.fills import make_values
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.search import history
from gptq_fuzz.search.history import FORMS, canned, endless, histories, shortened
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.search import Failure
from gptq_fuzz.worker.loader import load
from gptq_fuzz.worker.supervisor import Launch, Worker
from tests.suite.helpers import LIMITS, drawn
from tests.suite.test_museum import HANGS_AFTER, is_due
from tests.turns import todays

pytestmark = pytest.mark.turns(4)

LAYER = "n8-k16-b4-g8-act"
SEQ = "n8-k16-b4-g8"
LOADED = f"load-0-{LAYER}/call-0-m2"
ALWAYS = ("layer_known_by_addresses",)
PIECES = [exhibit for exhibit in faulty() if exhibit.only == "history"]
CHOSEN = [e for e in PIECES if e.name in ALWAYS or is_due(e)]
MAY_KEEP = ["cached_by_identity", "prepared", "columns_by_a_pool", "share_of_a_failed_thread"]
HANGING = [exhibit.spec for exhibit in PIECES if kinds.TIMED_OUT in exhibit.verdicts]
TIMES = 5  # that a line must fail again, alone


def verdict_on(backend, line):
    return verdict_of(History(backend, "cpu"), line)


def verdict_of(history, line):
    return history.verdict(parse_history(line, history.backend.limits))


@pytest.fixture
def kernel(request):
    """An exhibit under test in a worker of its own."""
    asked = {"timeout": HANGS_AFTER} if request.param in HANGING else {}
    under_test = KernelUnderTest(Launch(request.param, str(ROOT), device="cpu", **asked))
    under_test.worker.start()
    yield under_test
    under_test.worker.stop()


# Steps as text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("jump-0", "'jump-0' of 'jump-0': unknown; one of load, loads, experts, copy"),
        ("load-0-m1-n8-k8-b4-gall", "load takes other words"),
        ("load-0-n8-k9-b4-gall", "k must be a positive multiple of 8"),
        ("call-0-m1", "layer 0 is not loaded"),
        (f"load-0-{LAYER}/again-0", "the x of the call before does not fit"),
        (f"load-0-{LAYER}/x-s1", "there is no x yet"),
        (f"{LOADED}/load-1-n8-k32-b4-g8/again-1", "does not fit this layer"),
        (f"{LOADED}/drop-0/call-0-m1", "layer 0 is not loaded"),
        (f"{LOADED}/leave-0-op1/call-0-m1", "layer 0 is not loaded"),
        (f"load-0-{LAYER}/leave-0-last1", "no whole call before it"),
        (f"{LOADED}/drop-0-oom", "drop takes other words"),
        (f"{LOADED}-pool-infer", "call takes other words"),
        (f"{LOADED}/write-0-bias-all", "the layer has no bias"),
        ("load-0-n8-k16-b4-g8-gap/write-0-g_idx-all", "may not change places"),
        (f"{LOADED}/refuse-0-badnothing", "does not promise to refuse badnothing"),
        (f"{LOADED}/share-1-0-g_idx-k8", "the first rows of a g_idx in order"),
        (f"load-0-{SEQ}/share-1-0-g_idx-k16", "of fewer rows"),
        (f"load-0-{SEQ}/share-1-0-scales-k8", "nothing in common but g_idx"),
        (f"load-0-{SEQ}/share-1-0-g_idx-k8/write-0-g_idx-all", "several layers have parts"),
        (f"load-0-{SEQ}/share-1-0-g_idx-k8/move-1-all", "several layers have parts"),
        (f"load-0-{SEQ}/write-0-g_idx-all/copy-2-0/share-1-2-g_idx-k8", "a g_idx in order"),
        (f"load-0-{SEQ}/share-2-0-g_idx/share-1-0-g_idx-k8/write-2-g_idx-all", "have parts"),
        (f"load-0-{SEQ}/share-2-0-g_idx/write-2-g_idx-all/share-1-0-g_idx-k8", "a g_idx in order"),
        (f"load-0-{SEQ}/share-1-0-g_idx-k8/share-2-1-g_idx/write-2-g_idx-all", "have parts"),
        (f"load-0-{SEQ}/share-1-0-g_idx-k8/refuse-1-badneg-own", "several layers have parts"),
        (f"{LOADED}/interrupt-0-m2-op1-thread-omp3", "interrupt takes other words"),
        (f"{LOADED}/refuse-0-badshape-own", "g_idx alone is written to be gidx or neg"),
        ("load-0-n8-k16-b4-g8-none/refuse-0-badneg-own", "g_idx alone is written"),
        (f"{LOADED}/break-0-m1-op1-oom", "break takes other words"),
        (f"{LOADED}-infer/break-0-m2-op1-grad", "no gradient may follow"),
        ("load-0-n8-k16-b4-g8-bwd", "no gradient"),
        ("load-0-n8-k16-b4-g8-none/share-1-0-g_idx", "no g_idx to share"),
        ("load-0-n8-k16-b4-g8-pad3/decode-0-x9", "no tensors of their own"),
        ("load-0-n8-k16-b4-g8-oom", "nor such a condition"),
        (f"loads-2-{LAYER}-det", "loaded alone has a condition"),
        (f"{LOADED}-infer/grad-0-m2", "no gradient may follow 'call-0-m2-infer'"),
        (f"{LOADED}/again-0-infer/call-0-m1-grad", "no gradient may follow 'again-0-infer'"),
        (f"load-0-{LAYER}-infer/track-0-m1", "no gradient may follow 'load-0-.*-infer'"),
        (f"{LOADED}/part-0-head", "parts of 3 rows and more"),
        (f"load-0-{LAYER}/call-0-m4-pad8/part-0-step", "one after another, in a matrix"),
        (f"load-0-{LAYER}/call-0-m4-dim3/part-0-one", "one after another, in a matrix"),
        (f"load-0-{LAYER}/part-0-tail", "the x of the call before does not fit"),
        (f"load-0-{LAYER}/share-1-0-scales-b8", "nothing in common but g_idx"),
        (f"load-0-{LAYER}/share-1-0-g_idx-b3", "must be a positive multiple of 32"),
        (f"{LOADED}-defbf16-deff64", "no call is under defbf16 and deff64 at once"),
        (f"{LOADED}-f32-autocast", "autocast is for 16 bits"),
        (f"load-0-{LAYER}/call-0-m2-dim1", "dim1 holds one row"),
        (f"load-0-{LAYER}/call-0-m2-atw4", "call takes other words"),
        (f"load-0-{LAYER}-bias/call-0-m2-bf16", "a bias of f16, and x its dtype"),
        (f"{LOADED}/free-0/write-0-scales-all", "the operands of layer 0 were freed"),
        (f"{LOADED}/twin-0-0-pickle", "a twin is another layer"),
        (f"{LOADED}/threads-1-m2-grad", "two threads do not ask for one gradient"),
        (f"{LOADED}-oom", "call takes other words"),
        (f"{LOADED}-param", "call takes other words"),
        (f"loads-2-{LAYER}-param", "loaded alone has a condition"),
        (f"load-0-{LAYER}/interrupt-0-m1-op1-threads", "interrupt takes other words"),
        (f"load-0-{LAYER}/break-0-m1-last1-thread", "no whole call before it"),
        ("wait-600", "layer 0 is not loaded"),
        (f"{LOADED}/wait-60000", "wait takes other words"),
        (f"{LOADED}/move-0-bias", "the layer has no bias"),
        (f"{LOADED}/free-0/move-0-all", "the operands of layer 0 were freed"),
        (f"load-0-{LAYER}/break-0-m1-last1", "no whole call before it"),
        (f"{LOADED}/break-0-m1-op3of2", "no more parts than these"),
        (f"{LOADED}/feed-0-0-m1-relu", "no x of the other"),
        (f"{LOADED}/load-1-n8-k32-b4-g8/threads-2-m1", "no x fits all"),
    ],
)
def test_a_wrong_step_is_named_with_what_is_wrong(line, words):
    with pytest.raises(ValueError, match=words):
        parse_history(line, TORCH.limits)


def test_a_step_outside_the_limits_is_none():
    with pytest.raises(ValueError, match="outside the kernel's limits: n"):
        parse_history("load-0-n8-k24-b4-gall", LIMITS["coarse"])


def test_a_condition_outside_the_limits_is_none():
    limits = dataclasses.replace(TORCH.limits, conditions=("omp3",))
    under = (
        f"load-0-{LAYER}-det",
        f"load-0-{LAYER}-param",
        f"{LOADED}-grad",
        f"{LOADED}/again-0-det",
    )
    by_others = (f"{LOADED}/threads-1-m2", f"{LOADED}-pool", f"{LOADED}/again-0-pool")
    for step in (*under, *by_others, f"{LOADED}/drop-0-det"):
        with pytest.raises(ValueError, match="outside the kernel's limits: condition"):
            parse_history(step, limits)


def test_a_layer_and_any_x_of_it_are_judged_in_one_place():
    history, case = History(TORCH, "cuda"), Case.parse("m512-n4096-k4-b8-gall")
    assert history._judged_on(case) == history._judged_on(case.replace(m=1)) == "cpu"


def test_a_shared_operand_lies_where_its_new_layer_is_judged():
    """A larger one on a GPU: load-0-n128-k256-b4-g128/call-0-m1/share-3-0-g_idx-n256/again-3."""
    small = make_values(Case.parse("m1-n4-k8-b8-g4"), "cpu")
    large = dataclasses.replace(small, codes=small.codes.to("meta"))
    assert _with(large, small, "g_idx").g_idx.device.type == "meta"


def test_experts_are_parts_of_one_tensor_and_layers_of_their_own():
    line = f"experts-3-{LAYER}/calls-3-m2/write-1-qweight-row/again-0/again-1/drop-1/again-2"
    history = History(TORCH, "cpu")
    assert history.verdict(parse_history(line, TORCH.limits)).kind == kinds.PASS
    for name in ("qweight", "qzeros", "scales", "g_idx"):
        first, last = (history.layers[number].guarded[name].view for number in (0, 2))
        assert first.untyped_storage().data_ptr() == last.untyped_storage().data_ptr()
        assert first.data_ptr() != last.data_ptr()


def test_a_step_knows_its_condition_and_a_layer_has_none():
    steps = parse_history(
        f"load-0-{LAYER}-det/call-0-m2-s1-omp3-x2/again-0-grad/again-0", TORCH.limits
    )
    assert [step.conditions for step in steps] == [("det",), ("omp3",), ("grad",), ()]
    assert {step.case.condition for step in steps} == {""}


def test_a_call_may_be_under_two_conditions():
    step = parse_history(f"{LOADED}-deff16-nograd", TORCH.limits)[1]
    seen = []

    def change(given, out, number):
        seen.append((torch.get_default_dtype(), torch.is_grad_enabled()))
        return out

    assert step.conditions == ("deff16", "nograd")
    assert verdict_on(spoilt(change), f"{LOADED}-deff16-nograd/again-0").kind == kinds.PASS
    assert seen == [(torch.float16, False), (torch.float32, True)]


def test_x_of_a_call_has_a_form_of_its_own():
    line = f"{LOADED}-bf16-pad3-dim3-s1/again-0/call-0-m2/call-0-m1-dim1/call-0-m2-step3-at8"
    seen = []

    def change(given, out, number):
        x = given["x"]
        seen.append((x.dtype, x.shape[:-1], x.stride(), x.data_ptr() % 16))
        return out

    assert verdict_on(spoilt(change), line).kind == kinds.PASS
    first = torch.bfloat16, (2, 1), (19, 19, 1), 0
    rest = [(2,), (16, 1), 0], [(), (1,), 0], [(2,), (35, 2), 8]
    assert seen == [first, first, *((torch.float16, *form) for form in rest)]


def test_a_part_of_x_is_a_view_of_it_and_x_the_same_again():
    seen = []

    def change(given, out, number):
        seen.append(given["x"])
        return out

    history = History(spoilt(change), "cpu")
    parts_of_it = "/".join(f"part-0-{part}" for part in PARTS)
    line = f"load-0-{LAYER}/call-0-m5/{parts_of_it}/again-0"
    assert verdict_of(history, line).kind == kinds.PASS
    x, head, tail, step, one, again = seen
    assert again is x
    expected = x[:3], x[2:], x[::2], x[:1].expand(3, 16)
    for part, same in zip((head, tail, step, one), expected, strict=True):
        assert part._base is x
        assert (part.data_ptr(), part.stride()) == (same.data_ptr(), same.stride())
        assert torch.equal(part, same)


def test_what_a_kernel_writes_into_a_part_of_x_is_seen_in_x():
    line = f"load-0-{LAYER}/call-0-m5/part-0-step"
    overwritten = spoilt(lambda given, out, n: [out, n > 1 and given["x"].zero_()][0])
    assert verdict_on(overwritten, line).kind == kinds.INPUT_CHANGED


def test_an_x_of_inference_mode_is_written_there_and_has_no_version():
    seen = []

    def change(given, out, number):
        x = given["x"]
        seen.append((x, x.is_inference(), x.clone()))
        return out

    line = f"{LOADED}-infer/x-s1/again-0-infer/x-s2/again-0"
    assert verdict_on(spoilt(change), line).kind == kinds.PASS
    first, *later = seen
    assert all(x is first[0] and is_inference for x, is_inference, _ in seen)
    assert not any(torch.equal(first[2], numbers) for *_, numbers in later)


def test_layers_of_other_bits_and_columns_share_one_g_idx():
    history = History(TORCH, "cpu")
    line = f"{LOADED}/share-1-0-g_idx-b8/share-2-0-g_idx-n16-b4-s2/write-2-g_idx-row/again-1"
    assert verdict_of(history, f"{line}/again-2/again-0").kind == kinds.PASS
    layers = [history.layers[number] for number in range(3)]
    assert len({id(layer.guarded["g_idx"].view) for layer in layers}) == 1
    forms = [(layer.case.n, layer.case.bits) for layer in layers]
    assert forms == [(8, 4), (8, 8), (16, 4)]


def test_a_step_knows_the_case_that_it_is_about():
    steps = parse_history(f"{LOADED}-s3/again-0/write-0-scales-row/x-s1", TORCH.limits)
    assert [step.case.m for step in steps] == [1, 2, 2, 1, 2]
    assert (steps[1].seed, steps[3].extent) == (3, "row")


@pytest.mark.parametrize("name", LIMITS)
def test_canned_and_drawn_histories_lie_within_the_limits(name):
    limits = LIMITS[name]
    for steps in [*canned(limits).values(), *drawn(histories(limits), 30)]:
        assert len(parse_history("/".join(steps), limits)) == len(steps)
    assert set(canned(limits)) <= set(FORMS)


def test_ever_new_histories_are_drawn():
    limits = LIMITS["small"]
    ever = itertools.islice(endless(limits, 7), len(canned(limits)), None)
    some = ["/".join(steps) for steps in itertools.islice(ever, 20)]
    assert len(set(some)) > 15


# What is done, and what is seen

EVERY_STEP = (
    f"{LOADED}/x-s1/again-0-x3/copy-1-0/again-1/write-0-qweight-word/again-0/again-1"
    "/write-1-g_idx-word/again-1/replace-1-scales/again-1/call-1-m3-s5-x3/drop-1"
    f"/load-2-{LAYER}-s4/call-2-m1/refuse-2-badshape/again-2/break-2-m1-op2/again-2"
    "/share-3-2-g_idx/again-3/write-2-g_idx-word/again-2/again-3/replace-3-g_idx/again-3"
    "/share-4-3-scales-s7/grad-4-m2/again-4/track-4-m1-s2/again-4/write-4-scales-all/again-3/decode-3-s2-x70/again-4"
    "/load-5-n8-k8-b4-gall/feed-5-3-m2-s1-add/again-5/x-s4/again-5/feed-5-5-m2-relu"
    f"/loads-3-{LAYER}/threads-3-m4-deff64-nograd/again-1/call-0-m2-bf16-xtp3/again-1"
    "/twin-4-0-deepcopy/again-4/write-4-scales-all/again-0/twin-5-4-pickle/write-4-qweight-row"
    "/again-5/again-4/interrupt-4-m1-op2/again-4/free-4/call-4-m1-infer/again-4"
    "/threads-3-m4-infer/calls-3-m4-f32-dim3-infer/again-2/x-s2/again-1-infer/again-0"
    f"/load-2-{LAYER}/share-1-2-g_idx-n16-b8-s1/call-1-m5/part-2-head/part-1-step/part-1-tail"
    "/part-2-one/write-1-g_idx-row/again-1/again-2/call-2-m4-infer/part-1-one"
    "/leave-2-op2/again-1/leave-1-last1"
)


def test_a_right_kernel_passes_every_kind_of_step():
    assert verdict_on(TORCH, EVERY_STEP).kind == kinds.PASS


@pytest.mark.parametrize("name", todays(MAY_KEEP, 4))
def test_a_right_kernel_may_keep_what_is_still_true(name):
    backend = load(f"{ROOT}/gptq_fuzz/museum/correct/{name}.py:f", ".")
    for name, steps in canned(backend.limits).items():
        if "many calls" not in name:
            assert verdict_on(backend, "/".join(steps)).kind == kinds.PASS


def spoilt(change):
    """The control, and `change` of each call's keywords, result and number after it."""
    calls = []

    def matmul(**given):
        out = TORCH.matmul(**given)
        calls.append(given)
        return change(given, out, len(calls))

    return Backend("spoilt", TORCH.limits, TORCH.numerics, matmul=matmul)


def written(operand):
    def change(given, out, number):
        if number == 2:
            given[operand].zero_()
        return out

    return spoilt(change)


def outside(given, out, number):
    given["qweight"].as_strided((1,), (1,), given["qweight"].numel() + 64).zero_()
    return out


def stateful(given, out, number):
    torch.rand(1)
    return out


@pytest.mark.parametrize(
    ("backend", "kind", "words"),
    [
        (written("scales"), kinds.INPUT_CHANGED, "step 3 .again-0.: the kernel changed scales"),
        (written("x"), kinds.INPUT_CHANGED, "step 3 .again-0.: the kernel changed x"),
        (spoilt(outside), kinds.OUT_OF_BOUNDS, "outside"),
        (spoilt(stateful), kinds.STATE_LEAKED, "step 2 .* changed random state"),
        (spoilt(lambda given, out, n: out + 1), kinds.WRONG, "step 2 .call-0-m2.: 16 of 16"),
        (spoilt(lambda given, out, n: out + (n > 1)), kinds.STATE_LEAKED, "step 3 .again-0.: 16"),
        (spoilt(lambda given, out, n: out.float() if n > 1 else out), kinds.WRONG_TYPE, "step 3"),
        (spoilt(lambda given, out, n: out if n < 2 else 1 / 0), kinds.RAISED, "step 3 .*division"),
    ],
)
def test_what_is_not_right_is_told_with_its_step(backend, kind, words):
    verdict = verdict_on(backend, f"{LOADED}/again-0")
    assert verdict.kind == kind, verdict.headline()
    assert re.search(words, verdict.message)
    assert verdict.case == Case.parse("m2-" + LAYER)


def test_two_threads_load_more_layers_at_once_than_a_few_buffers_hold():
    buffers, turns = {}, itertools.count()

    def prepare(*, qweight, qzeros, scales, g_idx, bits, **_described):
        turn = next(turns) % 4
        weight = parts.weights(qweight, qzeros, scales, g_idx, bits)
        return buffers.setdefault((weight.shape, turn), weight).copy_(weight).clone()

    def run(state, *, x):
        return parts.multiply(x, state)

    limits = Limits(bad=(), refuses_outside=False)
    backend = Backend("f", limits, prepare=prepare, run=run)
    verdict = verdict_on(backend, "/".join(canned(limits)["many layers at once"]))
    assert verdict.kind == kinds.STATE_LEAKED, verdict.headline()
    assert "while another thread called others" in verdict.message
    freed = f"loads-12-{LAYER}/free-3/threads-12-m2/threads-3-m1"
    assert verdict_on(load(f"{ROOT}/gptq_fuzz/museum/correct/prepared.py:f", "."), freed).ok


def test_a_gradient_outside_the_limits_is_none():
    limits = dataclasses.replace(TORCH.limits, backward=False)
    with pytest.raises(ValueError, match="outside the kernel's limits: backward"):
        parse_history(f"{LOADED}/grad-0-m1", limits)


def test_layers_share_one_tensor_and_what_is_written_there():
    history = History(TORCH, "cpu")
    line = f"{LOADED}/share-1-0-scales/write-1-scales-all/drop-0/again-1"
    tensors = []
    history._surroundings = lambda: tensors.append(
        [layer.guarded["scales"].view for layer in history.layers.values()]
    )
    assert verdict_of(history, line).kind == kinds.PASS
    assert tensors[2][0] is tensors[2][1] is tensors[-1][0]


@pytest.mark.parametrize("operand", OPERANDS)
def test_what_is_replaced_lies_where_the_last_one_did(operand):
    history, seen = History(TORCH, "cpu"), []
    history._surroundings = lambda: seen.append(history.layers[0].guarded[operand].view.data_ptr())
    assert verdict_of(history, f"{LOADED}/replace-0-{operand}/again-0").kind == kinds.PASS
    assert len(set(seen)) == 1


def test_each_call_of_decoding_has_other_rows_and_is_judged():
    seen = []

    def change(given, out, number):
        seen.append(given["x"])
        return out + (number == 70)

    verdict = verdict_on(spoilt(change), f"{LOADED}/decode-0-x99")
    assert verdict.kind == kinds.STATE_LEAKED
    assert "at step 3 (decode-0-x99): at call 69: 8 of" in verdict.message
    assert {tuple(x.shape) for x in seen[1:]} == {(1, 16)}
    assert len({tuple(x.flatten().tolist()) for x in seen[1:]}) == 99


def test_a_gradient_is_judged():
    backend = dataclasses.replace(TORCH, gradient=lambda **given: TORCH.gradient(**given) + 1)
    verdict = verdict_on(backend, f"{LOADED}/grad-0-m3")
    assert (verdict.kind, verdict.case) == (kinds.STATE_LEAKED, Case.parse(f"m3-{LAYER}-bwd"))


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("scales_known_by_address", "operands replaced"),
        ("groups_spread_by_g_idx", "g_idx shared"),
        ("words_of_one_group_told_by_g_idx", "g_idx of other layers"),
        ("rows_of_x_known_by_their_base", "parts of one x"),
        ("zero_noted_where_there_is_no_version", "x of inference mode rewritten"),
        ("epoch_of_12_bits", "steps of decoding"),
        ("weight_left_turned", "gradients in between"),
        ("result_kept_in_float32", "layers in a row"),
        ("recycled_under_a_product", "many layers at once"),
        ("widened_bias_kept", "bias"),
    ],
)
def test_a_form_shows_what_it_is_there_for(name, form):
    backend = load(f"{ROOT}/gptq_fuzz/museum/faulty/{name}.py:f", ".")
    verdict = verdict_on(backend, "/".join(canned(backend.limits)[form]))
    assert verdict.kind == kinds.STATE_LEAKED


@pytest.mark.parametrize("change", ["relu", "add"])
def test_a_result_that_was_changed_in_place_is_the_next_x(change):
    seen = []

    def note(given, out, number):
        seen.append((given["x"], out, out.clone()))
        return out

    line = f"{LOADED}/load-1-n8-k8-b4-gall/feed-1-0-m2-{change}"
    assert verdict_on(spoilt(note), line).kind == kinds.PASS
    (_, result, before), (x, _, _) = seen[1:]
    assert x is result
    assert not torch.equal(x, before)
    overwritten = spoilt(lambda given, out, n: [out, n > 2 and given["x"].zero_()][0])
    assert verdict_on(overwritten, line).kind == kinds.INPUT_CHANGED


def test_no_graph_is_left_of_an_x_that_required_a_gradient():
    """Also by a kernel that does not promise to take one."""
    spec = f"{ROOT}/gptq_fuzz/museum/faulty/workspace_in_the_graph.py:f"
    backend = load(spec, ".")
    lacking = dataclasses.replace(backend, limits=backend.limits.without(("grad",)))
    assert verdict_on(backend, f"{LOADED}/call-0-m2-grad").kind == kinds.PASS
    steps = "/".join(canned(lacking.limits)["x with a gradient"])
    verdict = verdict_on(lacking, steps)
    assert verdict.kind == kinds.WRONG_TYPE
    assert "(call-0-m2): the result requires a gradient" in verdict.message


@pytest.mark.parametrize("outcome", [lambda x: 1 / 0, lambda x: None, lambda x: x * x])
def test_what_comes_of_a_call_with_a_gradient_is_not_judged(outcome):
    backend = spoilt(lambda given, out, number: outcome(out) if given["x"].requires_grad else out)
    assert verdict_on(backend, f"{LOADED}/track-0-m3-s1/call-0-m2").kind == kinds.PASS


def test_eight_results_are_held():
    kept = []

    def change(given, out, number):
        kept.append(out)
        if number == 8:
            kept[0].zero_()
        return out

    verdict = verdict_on(spoilt(change), f"{LOADED}/call-0-m2-x7")
    assert verdict.kind == kinds.STATE_LEAKED
    assert "the result of call-0-m2, still held, changed" in verdict.message


def test_an_operator_raises_in_the_middle_of_a_broken_call():
    seen = []

    def matmul(**given):
        try:
            return TORCH.matmul(**given)
        except RuntimeError as problem:
            seen.append(str(problem))
            raise

    backend = Backend("sees", TORCH.limits, TORCH.numerics, matmul=matmul)
    assert verdict_on(backend, f"load-0-{LAYER}/break-0-m1-op3/again-0").kind == kinds.PASS
    assert seen == ["raised by gptq-fuzz in the middle of a call"]


@pytest.mark.parametrize("verb", ["break", "interrupt"])
def test_what_an_operator_raised_is_no_verdict_but_what_comes_after(verb):
    marks = []

    def matmul(**given):
        wrong = bool(marks)
        marks.append(None)
        try:
            out = TORCH.matmul(**given)
        except Exception:
            marks.clear()
            raise
        marks.clear()
        return out + wrong

    backend = Backend("marks", TORCH.limits, TORCH.numerics, matmul=matmul)
    verdict = verdict_on(backend, f"load-0-{LAYER}/{verb}-0-m1-op3/again-0")
    assert (verdict.kind == kinds.STATE_LEAKED) == (verb == "interrupt")
    assert (verdict.kind == kinds.PASS) == (verb == "break")


@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
@pytest.mark.parametrize("start", [LOADED, f"experts-2-{LAYER}/calls-2-m2/drop-1"])
def test_a_twin_is_another_tensor_with_the_same_notes(way, start):
    history = History(TORCH, "cpu")
    history._drop = lambda step: setattr(history.layers[0].guarded["scales"].view, "note", 7)
    note = "" if "drop" in start else f"/load-1-{LAYER}/drop-1"
    line = f"{start}{note}/write-0-scales-all/twin-1-0-{way}/again-1"
    assert verdict_of(history, line).kind == kinds.PASS
    mine, twin = (history.layers[at].guarded["scales"].view for at in (0, 1))
    assert twin.note == 7
    assert twin.data_ptr() != mine.data_ptr()
    assert torch.equal(mine, twin)
    twin.fill_(0)
    assert not history.layers[1].guarded["scales"].is_untouched()
    assert history.layers[0].guarded["scales"].is_untouched()


@pytest.mark.parametrize(
    ("way", "kind"), [("deepcopy", kinds.INPUT_CHANGED), ("pickle", kinds.PASS)]
)
def test_what_is_noted_at_a_tensor_lets_it_be_copied_and_need_not_be_written(way, kind):
    def change(given, out, number):
        given["scales"].note = threading.Lock()
        return out

    assert verdict_on(spoilt(change), f"{LOADED}/twin-1-0-{way}/again-1").kind == kind


def test_freed_operands_are_poisoned_where_nobody_holds_them():
    kept = []

    def prepare(**weights):
        kept[:] = weights["qweight"], weights["scales"].data_ptr(), weights["scales"].nbytes
        return copy.deepcopy(weights)

    backend = Backend(
        "holds", TORCH.limits, TORCH.numerics,
        prepare=prepare, run=lambda state, x: TORCH.matmul(x=x, **state),
    )  # fmt: skip
    history = History(backend, "cpu")
    assert verdict_of(history, f"{LOADED}/free-0/again-0").kind == kinds.PASS
    held, address, size = kept
    assert ctypes.string_at(address, size) == b"\xff" * size
    assert not torch.equal(held, torch.full_like(held, -1))


@pytest.mark.parametrize("operand", ["scales", "all"])
def test_a_moved_tensor_is_the_same_object_elsewhere(operand):
    history = History(TORCH, "cpu")
    verdict_of(history, LOADED)
    views = {name: kept.view for name, kept in history.layers[0].guarded.items()}
    before = {name: (t.data_ptr(), t._version, t.clone()) for name, t in views.items()}
    history._move(parse_history(f"{LOADED}/move-0-{operand}", TORCH.limits)[-1])
    for name, view in views.items():
        assert history.layers[0].guarded[name].view is view
        address, version, numbers = before[name]
        is_moved = operand in (name, "all")
        assert (view.data_ptr() != address) == is_moved
        assert view._version == version
        assert torch.equal(view, numbers)
        assert not is_moved or ctypes.string_at(address, view.nbytes) == b"\xff" * view.nbytes
    assert verdict_of(history, f"{LOADED}/move-0-all/write-0-scales-all/again-0").kind == kinds.PASS


def test_what_a_kernel_holds_of_a_moved_tensor_stays_as_it_was():
    held = []

    def change(given, out, number):
        held.append(held[0] if held else given["scales"].view(-1))
        return out

    history = History(spoilt(change), "cpu")
    assert verdict_of(history, f"{LOADED}/move-0-scales/again-0").kind == kinds.PASS
    assert torch.equal(held[0].view_as(history.layers[0].guarded["scales"].view),
                       history.layers[0].guarded["scales"].view)  # fmt: skip


def with_an_end(end, inside=nullcontext):
    """A kernel that calls `end(number)` when the tensor of a call's scales dies; its operators are
    within `inside()`.
    """
    calls = itertools.count()

    def matmul(**given):
        weakref.finalize(given["scales"], end, next(calls)).atexit = False
        with inside():
            return TORCH.matmul(**given)

    return Backend("ends", TORCH.limits, TORCH.numerics, matmul=matmul)


@pytest.mark.parametrize(("place", "at"), [("op1", 1), ("op4", 4), ("op99", None)])
def test_a_layer_that_is_left_ends_at_that_operator_of_the_next_call(place, at):
    ended, calls, counted = [], [], OperatorsCounted()

    def inside():
        calls.append(counted.seen)
        return counted

    history = History(with_an_end(lambda _number: ended.append(counted.seen), inside), "cpu")
    line = f"{LOADED}/load-1-{LAYER}-s1/leave-0-{place}/load-2-{LAYER}/call-1-m1"
    assert verdict_of(history, line).kind == kinds.PASS
    assert len(calls) == 2
    assert [seen - calls[1] for seen in ended] == [at or counted.seen - calls[1]]


def test_a_lock_that_the_call_holds_is_waited_for_once_and_not_for_ever(monkeypatch):
    monkeypatch.setattr(interrupts, "PATIENCE", (2, 0.05))
    lock, handler, hook = threading.Lock(), signal.getsignal(signal.SIGINT), sys.unraisablehook

    def end(_number):
        with lock:
            pass

    line = f"{LOADED}/load-1-{LAYER}-s1/leave-0-op2/call-1-m1"
    assert verdict_on(with_an_end(end), line).kind == kinds.PASS
    verdict = verdict_on(with_an_end(end, lambda: lock), line)
    assert verdict.kind == kinds.TIMED_OUT, verdict.headline()
    assert not lock.locked()
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == (handler, hook)
    lock = threading.RLock()  # which lets the same thread in
    assert verdict_on(with_an_end(end, lambda: lock), line).kind == kinds.PASS


@pytest.mark.parametrize(
    ("place", "at"), [("last1", 7), ("last3", 5), ("op1of2", 4), ("op3of3", 7)]
)
def test_operators_are_counted_from_the_end_of_the_last_whole_call(place, at):
    history = History(TORCH, "cpu")
    line = f"{LOADED}/break-0-m1-{place}"
    history.operators = {"": 7}
    assert history._operator_of(parse_history(line, TORCH.limits)[-1]) == at
    assert verdict_on(TORCH, line).kind == kinds.PASS


def test_a_call_that_catches_what_torch_raised_must_be_right():
    def matmul(**given):
        try:
            return TORCH.matmul(**given)
        except RuntimeError:
            return torch.zeros(len(given["x"]), given["scales"].shape[1], dtype=given["x"].dtype)

    backend = Backend("catches", TORCH.limits, TORCH.numerics, matmul=matmul)
    verdict = verdict_on(backend, f"{LOADED}/break-0-m2-last1")
    assert (verdict.kind, "(break-0-m2-last1)" in verdict.message) == (kinds.WRONG, True)


def test_a_prepared_state_is_made_once_and_after_each_write():
    made = []

    def prepare(**weights):
        made.append(weights)
        return copy.deepcopy(weights)

    backend = Backend(
        "prepared", TORCH.limits, TORCH.numerics,
        prepare=prepare, run=lambda state, x: TORCH.matmul(x=x, **state),
    )  # fmt: skip
    assert verdict_on(backend, f"{LOADED}/again-0/write-0-scales-all/again-0").kind == kinds.PASS
    assert len(made) == 2


@pytest.mark.parametrize("operand", ["qweight", "qzeros", "scales", "g_idx"])
def test_a_write_changes_one_word_or_one_row_or_all(operand):
    case = Case.parse("m1-n32-k32-b4-g8-act")
    values = make_values(case, "cpu")
    before = Operands(case, "cpu", values=values).weights()[operand]

    def changed(extent):
        after = Operands(case, "cpu", values=rewritten(values, case, operand, extent, 1))
        return int((after.weights()[operand] != before).sum())

    if operand == "g_idx":
        assert changed("word") == 2
    else:
        assert changed("word") == 1
        assert 1 < changed("row") <= before.shape[1]
    assert changed("all") > before.numel() / 2


@pytest.mark.parametrize("kind", ["", "-param"])
def test_a_layer_is_of_parameters_from_its_load_on(kind):
    load = f"load-0-{LAYER}{kind}/call-0-m2"
    other = (
        f"/replace-0-scales/renew-0-qweight/move-0-all/write-0-qzeros-all/again-0/load-5-{LAYER}"
    )
    copies = "/copy-1-0/share-2-0-scales/twin-3-0-deepcopy/twin-4-0-pickle/again-4/again-3"
    history = History(TORCH, "cpu")
    assert verdict_of(history, load + other + copies).kind == kinds.PASS
    for number, layer in history.layers.items():
        views = [operand.view for operand in layer.guarded.values()]
        is_one = bool(kind) and number < 5
        assert {isinstance(view, torch.nn.Parameter) for view in views} == {is_one}
        assert not any(view.requires_grad for view in views)


def test_a_write_into_a_parameter_is_counted_in_its_version_and_not_in_that_of_its_data():
    history = History(TORCH, "cpu")
    verdict_of(history, f"load-0-{LAYER}-param/call-0-m2/write-0-scales-word")
    written = history.layers[0].guarded["scales"].view
    assert (written._version, written.data._version) == (1, 0)


# Memory


def placed(memory):
    operand = Operands(Case.parse("m1-n8-k16-b4-g8"), "cpu").guarded["qweight"]
    memory.place({"qweight": operand})
    return operand


def test_memory_that_nobody_holds_is_given_to_the_next_tensor():
    memory = Memory("cpu")
    first = placed(memory)
    address = first.view.data_ptr()
    del first
    second = placed(memory)
    assert second.view.data_ptr() == address
    assert second.view._version == 0
    assert second.is_untouched()


def test_memory_that_somebody_holds_is_not():
    memory = Memory("cpu")
    first = placed(memory)
    held = first.view[1:].T  # a view of it is enough
    address = first.view.data_ptr()
    del first
    second = placed(memory)
    assert second.view.data_ptr() != address
    del held
    assert placed(memory).view.data_ptr() == address


# From a failure to a line


def test_steps_are_deleted_and_made_simple_as_long_as_they_fail():
    steps = ["drop-1", "load-0-n8", "drop-2", "call-0-m17-s3", "drop-3", "again-0-x300", "drop-4"]

    def fails(tried):
        repeats = [int(s.split("-x")[1]) for s in tried if s.startswith("again-0-x")]
        return "load-0-n8" in tried and any(s.startswith("call") for s in tried) and repeats > [25]

    assert shortened(steps, fails, float("inf")) == ["load-0-n8", "call-0-m1", "again-0-x30"]
    assert shortened(steps, fails, 0.0) == steps


def pasted(spec, line, *more):
    command = [sys.executable, "-m", "gptq_fuzz", "-q", "--device", "cpu", "--kernel", spec]
    return subprocess.run(
        [*command, "--steps", line, *more], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_option_judges_one_history_alone():
    spec = "gptq_fuzz/museum/faulty/x_known_by_address.py:f"
    ran = pasted(spec, f"{LOADED}/x-s1/again-0")
    assert ran.returncode == 1
    assert f"--steps {LOADED}/x-s1/again-0" in ran.stdout
    assert "STATE_LEAKED: at step 4 (again-0)" in ran.stdout
    wrong = pasted(spec, "call-0-m1")
    assert (wrong.returncode, "layer 0 is not loaded" in wrong.stderr) == (4, True)


DIES = """
import os
from gptq_fuzz.museum.parts import matmul
CALLS = []
def f(**given):
    CALLS.append(None)
    if len(CALLS) == 2:
        os.abort()
    return matmul(**given)
"""


def test_a_process_that_dies_is_told_with_the_step_that_killed_it(tmp_path):
    (tmp_path / "dies.py").write_text(DIES)
    worker = Worker(Launch("dies.py:f", str(tmp_path), device="cpu"))
    worker.start()
    verdict = worker.ask_steps(parse_history(f"{LOADED}/again-0/again-0", worker.limits))
    worker.stop()
    assert verdict.kind == kinds.CRASHED
    assert verdict.message.endswith("at step 3 (again-0)")
    assert verdict.case.m == 2


@pytest.mark.parametrize("kernel", ["torch"], indirect=True)
def test_what_there_is_no_time_for_is_counted(kernel, monkeypatch):
    monkeypatch.setitem(history.SECONDS, kernel.is_slow, 0.0)
    history.must_pass_canned(kernel, "many layers")
    tally = kernel.tallies[history.SERIES]
    assert tally.planned == tally.judged + tally.left_out["no time"] == 120
    assert tally.left_out["no time"]


@pytest.mark.parametrize("kernel", ["torch"], indirect=True)
def test_what_does_not_fail_again_is_reported_without_a_command(kernel, monkeypatch):
    monkeypatch.setattr(history.Failing, "here", lambda self, steps: False)
    ask = kernel.worker.ask_steps

    def fails_once(steps, budget=0.0):
        verdict = ask(steps)
        verdict.kind, verdict.message = kinds.STATE_LEAKED, "seen"
        return verdict

    monkeypatch.setattr(kernel.worker, "ask_steps", fails_once)
    with pytest.raises(Failure, match="not in a new process"):
        history.must_pass_history(kernel, LOADED.split("/"))
    assert [finding.command for finding in kernel.findings] == [""]


def must_pass_all(kernel):
    for name in canned(kernel.limits):
        history.must_pass_canned(kernel, name)


SPLITS = "gptq_fuzz/museum/faulty/split_by_workspace.py:f"


@pytest.mark.parametrize("kernel", [SPLITS], indirect=True)
def test_bits_are_compared_where_nothing_was_called_before(kernel, monkeypatch):
    monkeypatch.setattr(history, "SHORTEN_SECONDS", 0.0)
    for name in ("large results held", "many rows first"):
        history.must_pass_canned(kernel, name)
    with pytest.raises(Failure) as caught:
        history.must_pass_canned(kernel, history.SAME_BITS)
    assert caught.value.verdict.kind == kinds.NONDETERMINISTIC
    assert "have other bits than at call-0-m1 before" in caught.value.verdict.message


def test_bits_are_those_of_the_same_call_of_the_same_layer():
    """Not of another x, of a layer that was written, or under a condition."""
    spec = f"{ROOT}/{SPLITS}"
    load_it = "load-0-n128-k512-b4-g16-f32-randn/call-0-m1"
    for steps in ("call-0-m8", "call-0-m1-s1", "write-0-scales-word/call-0-m1", "call-0-m1-omp3"):
        line = f"{load_it}/load-1-n128-k512-b4-gall-f32-randn/call-1-m8/{steps}"
        assert verdict_on(load(spec, "."), line).kind == kinds.PASS
    again = verdict_on(load(spec, "."), f"{load_it}/call-0-m8/x-s2/call-0-m1")
    assert again.kind == kinds.NONDETERMINISTIC


@pytest.mark.museum
@pytest.mark.parametrize(
    ("exhibit", "kernel"),
    [(e, e.spec) for e in CHOSEN],
    ids=[e.name for e in CHOSEN],
    indirect=["kernel"],
)
def test_a_line_of_steps_fails_again_alone_each_time(exhibit, kernel, monkeypatch):
    monkeypatch.setattr(history, "SHORTEN_SECONDS", 8.0)
    with pytest.raises(Failure) as caught:
        must_pass_all(kernel)
    verdict = caught.value.verdict
    assert verdict.kind in exhibit.verdicts, verdict.headline()
    line = kernel.findings[0].command.split("--steps ")[1]
    for _ in range(TIMES):
        kernel.worker.stop()
        again = kernel.worker.ask_steps(parse_history(line, kernel.limits))
        assert (again.kind, again.message) == (verdict.kind, verdict.message)
