"""One case on one Backend: each check, relation, fill and guard sees a fault that no other sees.

A kernel of the museum that says ONLY = "..." is that fault: with all other oracles on and this one
off it passes, with this one it does not. An oracle without such a kernel is not worth its time.
"""

import contextlib
import itertools
import sys
import threading
import warnings
from dataclasses import replace

import pytest
import torch

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case import checks
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.axes import CONDITIONS, FILLS, G_IDX_KINDS, ON_A_GPU, ZERO_KINDS
from gptq_fuzz.case.backend import Backend, Limits, from_callable
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.museum.catalogue import faulty
from gptq_fuzz.museum.parts import matmul
from gptq_fuzz.oracle import examination as execute
from gptq_fuzz.oracle import room
from gptq_fuzz.oracle.examination import Request
from gptq_fuzz.oracle.relations import RELATIONS
from gptq_fuzz.oracle.surroundings import global_state, restore_state
from gptq_fuzz.problem.layouts import Guarded
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.search.coverage import ROW_CLASSES, classes
from gptq_fuzz.search.sweep import DIMENSIONS, sweep
from gptq_fuzz.worker.loader import load
from tests.suite.helpers import examination

WITH_ONLY = [exhibit for exhibit in faulty() if exhibit.only]
ALONE = {exhibit.only: exhibit for exhibit in WITH_ONLY}
CHECKS = ("repeat", "decoy", *RELATIONS)
JUDGING = tuple(fill for fill in FILLS if fill != "lanes")  # which is for diagnosis
LINES = (  # of every check
    "m3-n8-k64-b4-g32",
    "m1-n8-k8-b8-gall-sparse",
    "m17-n16-k48-b8-g16-act-pad3",
    "m5-n32-k96-b2-g24-skew-xt-sparse-s3",
    "m2-n16-k80-b4-g16-gap-randn-s1",
    "m4-n64-k32-b4-gall-onehot",
    "m1-n4-k1040-b8-gall",
    "m3-n8-k64-b4-g32-v2",
    "m3-n8-k64-b4-g32-cfga",
    "m3-n8-k64-b4-g32-out",
    "m6-n8-k64-b4-g32-dim3",
)
# Kinds of g_idx and of zero-points that have a kernel of their own
ORDERS = ("perm", "shard", "odd", "holes", "near", "uneven", "recur", "begun")
ZEROS = (
    *("zeq", "zrow", "zcol", "zlay", "zhead", "zband"),
    *("ztern", "zfew", "zfour", "znear", "zdead"),
)
KINDS = dict.fromkeys(ORDERS, "g_idx") | dict.fromkeys(ZEROS, "zeros")
SIZES = ("m17-n64-k96-b4-g32-{}", "m3-n32-k256-b8-g64-act-{}-s1", "m33-n48-k64-b2-g16-mix-{}-s2")

OF_KINDS = ("m2-n16-k48-b8-g5-s1", "m2-n16-k64-b4-g16", "m1-n32-k64-b2-g7-randn-s2")


def verdict_on(exhibit, line, checks=(), zones=True):
    """On one case by the kernel as a new process loads it; None for a case outside its limits."""
    backend = load(exhibit.spec, ".")
    try:
        exam = examination(backend, line, Request(checks), zones)
    except ValueError:  # a token of another kernel
        return None
    return None if backend.limits.violations(exam.case) else exam.verdict()


def verdicts_on(exhibit, lines, checks=()):
    found = [verdict_on(exhibit, line, checks) for line in lines]
    return [verdict for verdict in found if verdict is not None]


@pytest.mark.turns(3)
@pytest.mark.parametrize("check", CHECKS)
def test_a_check_sees_what_no_other_check_sees(check):
    exhibit = ALONE[check]
    for other in CHECKS:
        if other != check:
            assert {v.kind for v in verdicts_on(exhibit, LINES, (other,))} == {kinds.PASS}, other
    failed = [v for v in verdicts_on(exhibit, LINES, (check,)) if not v.ok]
    assert failed
    assert {verdict.check for verdict in failed} == {check}
    assert {verdict.kind for verdict in failed} <= set(exhibit.verdicts)


def test_a_row_asked_for_alone_is_named_by_its_place_in_the_batch():
    for line in ("m5-n32-k96-b2-g24-skew-xt-sparse-s3", "m5-n64-k32-b4-gall-onehot"):
        verdict = verdict_on(ALONE["row alone"], line, ("row alone",))
        assert (verdict.kind, verdict.check) == (kinds.WRONG, "row alone")
        assert verdict.where.startswith("row 4 only")


@pytest.mark.turns(3)
@pytest.mark.parametrize(
    "exhibit", [e for e in WITH_ONLY if e.only in JUDGING], ids=lambda exhibit: exhibit.name
)
def test_a_fill_sees_what_no_other_fill_sees(exhibit):
    for other in FILLS:
        lines = [line.format(other).replace("-exact", "") for line in SIZES]
        found = {verdict.kind for verdict in verdicts_on(exhibit, lines)}
        assert (kinds.WRONG in found) == (other == exhibit.only), other


@pytest.mark.turns(3)
@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_g_idx_or_zero_points_sees_what_no_other_kind_sees(kind):
    axis = KINDS[kind]
    for other in {"g_idx": G_IDX_KINDS, "zeros": ZERO_KINDS}[axis]:
        lines = [str(Case.parse(line).replace(**{axis: other})) for line in OF_KINDS]
        found = {verdict.kind for verdict in verdicts_on(ALONE[kind], lines)}
        assert (kinds.WRONG in found) == (other == kind), other


def nothing_poisoned(monkeypatch):
    monkeypatch.setattr(execute, "poisoned_allocations", contextlib.nullcontext)
    monkeypatch.setattr(torch, "empty", torch.zeros)  # as fresh pages are


def operands_not_compared(monkeypatch):
    monkeypatch.setattr(Operands, "damage", lambda operands: None)
    form_not_compared(monkeypatch)


def form_not_compared(monkeypatch):
    monkeypatch.setattr(execute, "changed", lambda before: ())


def zones_not_compared(monkeypatch):
    monkeypatch.setattr(Guarded, "is_inside", lambda guarded: True)
    monkeypatch.setattr(execute, "replaced", list)  # which would see that
    operands_not_compared(monkeypatch)


def state_not_compared(monkeypatch):
    monkeypatch.setattr(execute, "global_state", dict)
    monkeypatch.setattr(execute, "restore_state", lambda state: None)
    monkeypatch.setattr(execute, "replaced_since", list)


def type_not_compared(monkeypatch):
    monkeypatch.setattr(execute, "typed", lambda out, operands: out.to(torch.float16))


def no_out_handed_in(monkeypatch):
    monkeypatch.setattr(execute.Examination, "_output_for", lambda exam, operands: None)


def looked_at_once(monkeypatch):
    """And a thread that writes later does so after all looks, on however busy a machine."""
    monkeypatch.setattr(execute.Examination, "_late", lambda exam: None)
    monkeypatch.setattr(threading.Thread, "start", lambda thread: None)


GUARDS = {
    # oracle: what switches it off
    "poison": nothing_poisoned,
    "operands compared": operands_not_compared,
    "form of operands": form_not_compared,
    "zones of operands": zones_not_compared,
    "zones of the result": zones_not_compared,
    "global state": state_not_compared,
    "type": type_not_compared,
    "out": no_out_handed_in,
    "late look": looked_at_once,
}


@pytest.mark.parametrize("guard", GUARDS)
def test_a_guard_sees_what_values_do_not_show(guard, monkeypatch):
    exhibit = ALONE[guard]
    before = torch.get_default_dtype()
    assert {v.kind for v in verdicts_on(exhibit, LINES)} & set(exhibit.verdicts)
    GUARDS[guard](monkeypatch)
    found = verdicts_on(exhibit, LINES)
    torch.set_default_dtype(before)
    assert {verdict.kind for verdict in found} == {kinds.PASS}


def test_what_is_returned_is_out_and_its_bytes_are_judged():
    def kind_of(answer):
        def matmul(out, **operands):
            return answer(out, TORCH.matmul(**operands))

        backend = Backend("f", Limits(bias=True), matmul=matmul, accepts_out=True)
        return examination(backend, "m8-n8-k8-b4-gall-bias-out", Request(())).verdict().kind

    assert kind_of(lambda out, right: out.copy_(right).view(8, 8)) == kinds.PASS
    assert kind_of(lambda out, right: out) == kinds.WRONG
    others = (torch.clone, torch.t, torch._neg_view)
    for other in others:
        assert kind_of(lambda out, right, other=other: other(out.copy_(right))) == kinds.WRONG_TYPE
    assert kind_of(lambda out, right: right) == kinds.WRONG_TYPE


def test_out_is_handed_in_beside_every_class_of_rows_and_a_bias():
    limits = Backend("f", Limits(bias=True), matmul=TORCH.matmul, accepts_out=True).limits
    swept = [case for name in DIMENSIONS for case in sweep(name, limits)]
    seen = {(classes(case)["m"], case.bias) for case in swept if case.out}
    assert seen >= set(itertools.product(ROW_CLASSES[1:], (False, True)))
    assert 0.4 < sum(case.out for case in swept) / len(swept) < 0.6


def at_call(number, change):
    """A right kernel that makes a change in its call of that number."""
    calls = []

    def f(x, **weights):
        out = matmul(x, **weights)
        calls.append(None)
        if len(calls) == number:
            change(x=x, **weights)
        return out

    return from_callable(f, "f")


@pytest.mark.parametrize("check", ["repeat", "reloaded", "rows permuted"])
def test_operands_and_state_are_looked_at_after_every_call(check):
    changes = {
        kinds.INPUT_CHANGED: lambda x, **weights: x.zero_(),
        kinds.OUT_OF_BOUNDS: lambda x, **weights: x.as_strided((1,), (1,), x.numel() + 24).zero_(),
        kinds.STATE_LEAKED: lambda **operands: torch.set_autocast_enabled("cpu", True),
    }
    for kind, change in changes.items():
        verdict = examination(at_call(2, change), LINE, Request((check,))).verdict()
        assert (verdict.kind, verdict.check) == (kind, check), verdict.headline()
        assert not torch.is_autocast_enabled("cpu")


def test_state_that_a_call_under_a_condition_leaves_is_seen_there():
    def f(**operands):
        torch.set_num_threads(2)
        return matmul(**operands)

    verdict = examination(from_callable(f, "f"), f"{LINE}-calls500").verdict()
    assert (verdict.kind, verdict.check) == (kinds.STATE_LEAKED, "calls500")
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("text", ["cublasCreate: the resource allocation failed", "7 TiB", "else"])
@pytest.mark.parametrize("left", [2**40, 2**29, 0])
def test_a_kernel_that_finds_no_memory_where_there_is_enough_raised(left, text, monkeypatch):
    """In whatever words: CUDA's libraries have types of their own, and tuners raise from others."""

    def f(**operands):
        raise RuntimeError(text) from torch.OutOfMemoryError(text) if text == "7 TiB" else None

    monkeypatch.setattr(room, "left_memory", lambda device: left)
    kind = kinds.RAISED if left > 2**30 or text == "else" else kinds.SKIPPED
    assert examination(from_callable(f, "f"), LINE).verdict().kind == kind


def test_of_a_gpu_that_others_have_most_of_a_kernel_may_have_found_nothing(monkeypatch):
    for name, answer in {"memory_reserved": 2**20, "memory_allocated": 0}.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, answer=answer: answer)
    for free, is_short in ((60, False), (30, True), (0.5, True)):
        sizes = int(free * 2**30), 80 * 2**30
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, sizes=sizes: sizes)
        assert room.is_short("cuda:0", 2**20) is is_short


@pytest.mark.parametrize("is_launched", [True, False])
def test_what_the_interpreter_makes_of_bfloat16_is_nobodys_fault(is_launched, monkeypatch):
    """Of a kernel that it runs; one of torch's is judged, whatever it has imported."""
    interpreter = type(sys)("triton.runtime.interpreter")
    interpreter.GridExecutor = type("GridExecutor", (), {"__call__": lambda self: None})
    monkeypatch.setitem(sys.modules, interpreter.__name__, interpreter)
    monkeypatch.setattr(execute, "bfloat16_works", lambda: False)

    def f(**operands):
        if is_launched:
            interpreter.GridExecutor()()
        if len(operands["x"]) == 1:
            raise TypeError("no bfloat16")
        return matmul(**operands) + len(operands["x"]) % 2

    plain = from_callable(f, "f")
    backend = replace(plain, limits=replace(plain.limits, dtypes=("f16", "bf16")))
    of_lines = {"m3-n8-k64-b4-g32-bf16": kinds.WRONG, "m1-n8-k64-b4-g32-bf16": kinds.RAISED}
    for line, kind in of_lines.items():
        verdict = examination(backend, line).verdict()
        assert verdict.kind == (kinds.SKIPPED if is_launched else kind)
    assert examination(backend, LINE).verdict().kind == kinds.WRONG


def test_only_red_zones_show_what_is_read_behind_an_operand():
    for line in ("m3-n8-k72-b4-g32", "m1-n4-k4-b8-gall", "m17-n16-k48-b8-g16-act-randn"):
        assert verdict_on(ALONE["zones read"], line).kind == kinds.WRONG
        assert verdict_on(ALONE["zones read"], line, zones=False).kind == kinds.PASS


def test_only_what_must_be_refused_shows_a_kernel_that_takes_it():
    exhibit = ALONE["refusal"]
    for check in ((), *((check,) for check in CHECKS)):
        assert {v.kind for v in verdicts_on(exhibit, LINES, check)} == {kinds.PASS}
    verdict = verdict_on(exhibit, "m3-n8-k64-b4-g32-badgidx")
    assert verdict.kind == kinds.FAILED_TO_REJECT


def test_every_failing_verdict_has_a_kernel_that_gets_no_other():
    sole = {exhibit.verdicts[0] for exhibit in faulty() if len(exhibit.verdicts) == 1}
    assert sole == set(kinds.KINDS) - kinds.RIGHT


def test_every_oracle_named_by_a_kernel_exists():
    lists = {"triples", *DIMENSIONS, "offsets", "layers", "crossings", "edges", "batches"}
    lists |= {"dispatch", "gradients"}
    lists |= {"step", "leap", "xts", "cut", "lap", "lapt", "kcast", "scalar"}  # test_layouts.py
    lists |= {"swap", "expand", "scut", "sxt"}
    lists |= {"start"}
    lists |= {*CONDITIONS, "states"} - {*ON_A_GPU}  # test_conditions.py
    lists |= {"guarded", "memory", "history"}  # test_guard_pages, test_kept, test_history
    lists |= {"many codes"}  # test_sweep.py, and a job of the night
    lists |= {"confirmed"}  # test_confirming.py
    lists |= {"b3", "zflt", "biaslow"}  # below
    assert tuple(RELATIONS) == checks.RELATIONS
    assert set(ALONE) == {*CHECKS, *JUDGING, *KINDS, *GUARDS, "zones read", "refusal", *lists}


@pytest.mark.parametrize(
    "name",
    ["field_across_a_border", "zero_points_cut_to_integers", "low_bias_taken_for_none"],
)
def test_what_only_one_value_of_an_axis_shows_passes_with_all_others(name):
    (piece,) = (piece for piece in faulty() if piece.name == name)
    backend, (m, n, k) = load(piece.spec, "."), piece.smallest
    plain = f"m{m}-n{n}-k{k}"
    sole = {"b3": "-b3-gall", "zflt": "-b8-gall-zflt", "biaslow": "-b8-gall-biaslow-s2"}
    assert examination(backend, plain + sole[piece.only]).verdict().kind == kinds.WRONG
    for other in ("b8", "b4", "b2"):
        assert examination(backend, f"m3-n32-k64-{other}-g8-act").verdict().ok


LINE = "m3-n8-k64-b4-g32"


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ("WWW", (kinds.WRONG, "strided")),
        ("W.W", (kinds.NONDETERMINISTIC, "repeat")),
        ("WW.", (kinds.NONDETERMINISTIC, "repeat")),
    ],
)
def test_a_check_that_fails_now_and_then_is_a_flaky_kernels(answers, found, monkeypatch):
    asked = iter(answers)
    exam = examination(TORCH, LINE)
    wrong = Verdict(kinds.WRONG, exam.case, "4 of 24 elements", check="strided")
    monkeypatch.setattr(exam, "_repeat", lambda: None)
    verdict = exam._stable(lambda: wrong if next(asked) == "W" else None)
    assert (verdict.kind, verdict.check) == found


def test_a_refusing_kernel_is_surrounded_as_any_other():
    """By poisoned memory, and its warnings go no further."""
    seen = []

    def refuses(x, **weights):
        warnings.warn("soon", UserWarning, stacklevel=1)
        seen.append(torch.empty(8).isnan().all())
        raise ValueError("g_idx must lie within the groups")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        verdict = examination(from_callable(refuses, "f"), f"{LINE}-badgidx").verdict()
    assert verdict.kind == kinds.REJECTED
    assert seen == [True]
    assert not caught


def test_subnormals_are_there_again_after_a_kernel_that_flushed_them():
    before = global_state()
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU cannot flush subnormals")
    try:
        assert global_state()["subnormals"] != before["subnormals"]
        restore_state(before)
        assert global_state() == before
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("relation", ["contiguous", "strided", "group named"])
def test_the_same_layer_is_asked_with_the_values_that_it_has(relation):
    """Which need not be those of its line: a check may come with others."""
    layout = "-pad3" if relation == "contiguous" else ""
    exam = examination(TORCH, f"m3-n8-k64-b4-gall{layout}")
    values = Operands(exam.case, "cpu").values
    exam.operands = Operands(exam.case, "cpu", values=replace(values, left=values.left * 2))
    exam.expected = exam.expectation(exam.operands)
    assert RELATIONS[relation].run(exam).count == 0
