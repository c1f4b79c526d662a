"""What lies behind an operand, or before it, is not mapped; whoever touches it is named."""

import ctypes
import dataclasses
import os
import signal

import pytest
import torch

from gptq_fuzz._checkout import ROOT
from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.case import Case
from gptq_fuzz.museum.catalogue import faulty
from gptq_fuzz.oracle.examination import Request
from gptq_fuzz.oracle.fewer_rows import BEHIND_X
from gptq_fuzz.oracle.guard import at_edges
from gptq_fuzz.oracle.relations import RELATIONS
from gptq_fuzz.problem.cuda_pages import CPU, Range, mapped_range, tensor_at
from gptq_fuzz.problem.layouts import span
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.problem.pages import BLOCK, LARGEST, SIDES, at_edge
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.search import FLAKY_CALLS
from gptq_fuzz.worker.supervisor import Launch
from tests.suite.helpers import examination

pytestmark = pytest.mark.turns(3)

LINES = (
    "m3-n8-k64-b4-g32-act-bias",
    "m4-n12-k36-b8-g8-pad3-at4",
    "m6-n16-k48-b2-g5-cut2-dim3-wstr-sstr-zstr-gstr-at16",
    "m4-n4-k4-b8-gall-bcast",
    "m5-n4-k20-b8-gall-none-xt",
)
TOUCHING = [exhibit for exhibit in faulty() if exhibit.name.startswith("reads_")]
SMALL = "m3-n64-k64-b4-g32"


def reach(view):
    """(first byte, one past the last) of an operand."""
    start = view.data_ptr()
    return start, start + span(view.shape, view.stride()) * view.element_size()


def dies_reading(address):
    """Whether a process does that reads one byte there."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        ctypes.string_at(address, 1)
        os._exit(0)
    return os.waitpid(child, 0)[1] != 0


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("side", SIDES)
def test_an_operand_at_the_edge_is_the_same_tensor_elsewhere(line, side):
    operands = Operands(Case.parse(line), "cpu")
    moved = at_edges(operands, side, operands.guarded)
    for name, guarded in operands.guarded.items():
        view, there = guarded.view, moved.guarded[name].view
        assert torch.equal(view, there)
        assert (view.stride(), view.dtype) == (there.stride(), there.dtype)
        assert view.data_ptr() != there.data_ptr()
        assert (view.data_ptr() - there.data_ptr()) % BLOCK["cpu"] == 0
        assert there._version <= 2  # nobody has written there but us


@pytest.mark.parametrize("line", LINES)
def test_what_lies_beyond_the_block_of_the_last_byte_is_not_mapped(line):
    for name, guarded in Operands(Case.parse(line), "cpu").guarded.items():
        there = at_edge(name, guarded, "behind", "cpu")
        end = reach(there)[1]
        whole = -(-end // BLOCK["cpu"]) * BLOCK["cpu"]
        assert not dies_reading(whole - 1)
        assert dies_reading(whole)
        there = at_edge(name, guarded, "before", "cpu")
        begins = reach(there)[0] // BLOCK["cpu"] * BLOCK["cpu"]
        assert not dies_reading(begins)
        assert dies_reading(begins - 1)


def test_memory_at_an_edge_is_no_tensors_but_one():
    """A kernel that holds a tensor, and so its memory, finds no other one there."""
    (guarded,) = (Operands(Case.parse(SMALL), "cpu").guarded[name] for name in ("qweight",))
    first = at_edge("qweight", guarded, "behind", "cpu")
    second = at_edge("qweight", guarded, "behind", "cpu")
    assert first.data_ptr() != second.data_ptr()
    assert first.untyped_storage().nbytes() % os.sysconf("SC_PAGE_SIZE") == 0


def test_empty_operands_and_large_ones_stay_where_they_are():
    for line in ("m0-n4-k4-b8-gall", f"m2-n4-k4-b8-gall-pad{LARGEST}"):
        guarded = Operands(Case.parse(line), "cpu").guarded["left"]
        assert at_edge("left", guarded, "behind", "cpu") is guarded.view


def told(line, calls=1, checks=("guarded",)):
    """The verdict on the control, and what is told of each call."""
    heard = []
    request = Request(checks, calls, announce=lambda check, what: heard.append((check, what)))
    return examination(TORCH, line, request).verdict(), heard


@pytest.mark.parametrize("line", LINES)
def test_a_right_kernel_may_be_asked_with_operands_at_the_edge(line):
    verdict, heard = told(line)
    assert verdict.kind == kinds.PASS
    places = ("behind an operand", "before an operand", BEHIND_X)
    assert heard[1:] == [("guarded", what) for what in places]


def test_a_patient_examination_moves_one_operand_at_a_time():
    _, heard = told(SMALL, calls=2)
    whats = [what for _, what in heard if what.startswith("behind")]
    assert whats == [
        *("behind x", "behind qweight", "behind qzeros", "behind scales", "behind g_idx"),
        *("behind an operand", BEHIND_X),
    ]


def test_nobody_is_asked_where_nobody_would_know_what_ended_the_process():
    assert examination(TORCH, SMALL, Request(("guarded",))).verdict().kind == kinds.PASS
    assert told(SMALL, checks="all")[1].count(("guarded", "")) == 1


@pytest.fixture
def kernel(request):
    """An exhibit in a worker of its own."""
    under_test = KernelUnderTest(Launch(request.param.spec, str(ROOT), device="cpu"))
    under_test.worker.start()
    yield under_test
    under_test.worker.stop()


@pytest.mark.parametrize(
    ("exhibit", "kernel"),
    [(exhibit, exhibit) for exhibit in TOUCHING],
    ids=[exhibit.name for exhibit in TOUCHING],
    indirect=["kernel"],
)
def test_a_word_that_is_read_and_not_used_is_a_crash_that_names_the_operand(exhibit, kernel):
    others = ("repeat", "decoy", *RELATIONS)
    assert kernel.judge(Case.parse(SMALL), others).kind == kinds.PASS
    touched = exhibit.name.removeprefix("reads_").replace("_", " ")
    verdict = kernel.judge(Case.parse(SMALL), ("guarded",), FLAKY_CALLS)
    assert (verdict.kind, verdict.check) == (kinds.CRASHED, "guarded")
    assert f"died of SIGSEGV; what lies {touched} was not mapped" in verdict.message


@pytest.mark.parametrize(
    ("line", "is_asked"),
    [(SMALL, True), ("m65-n4-k4-b8-gall", False), ("m1-n4-k4-b8-gall-dim1", False)],
)
def test_few_rows_come_after_more_of_the_same_layer(line, is_asked):
    rows = {}  # address of qweight -> numbers of rows

    def matmul(*, x, qweight, **weights):
        rows.setdefault(qweight.data_ptr(), []).append(x.reshape(-1, x.shape[-1]).shape[0])
        return TORCH.matmul(x=x, qweight=qweight, **weights)

    backend = dataclasses.replace(TORCH, matmul=matmul)
    request = Request(("guarded",), announce=lambda check, what: None)
    assert examination(backend, line, request).verdict().kind == kinds.PASS
    assert ([67, 7, 3] in [asked[-3:] for asked in rows.values()]) == is_asked


def test_a_layer_that_counts_the_most_rows_of_x_is_a_crash_that_names_x():
    spec = f"{ROOT}/gptq_fuzz/museum/faulty/rows_of_x_known_by_the_most.py:f"
    kernel = KernelUnderTest(Launch(spec, str(ROOT), device="cpu"))
    try:
        assert kernel.judge(Case.parse(SMALL), ("repeat", "decoy", *RELATIONS)).kind == kinds.PASS
        verdict = kernel.judge(Case.parse(SMALL), ("guarded",), FLAKY_CALLS)
        assert (verdict.kind, verdict.check) == (kinds.CRASHED, "guarded")
        assert "what lies behind x, after calls with more rows, was not mapped" in verdict.message
    finally:
        kernel.worker.stop()


def test_a_tensor_over_memory_that_is_there_reads_and_writes_it():
    memory = (ctypes.c_uint8 * 16)(*range(16))
    tensor = tensor_at(ctypes.addressof(memory), 16, CPU, 0)
    assert tensor.tolist() == list(range(16))
    tensor.view(torch.int32)[1] = -1
    assert list(memory[4:8]) == [255] * 4


@pytest.mark.gpu
def test_a_range_of_a_gpu_is_written_and_read_and_given_back():
    mapped = Range("cuda:0", 3 * 2**20)
    assert mapped.size % mapped.grain == 0
    mapped.memory.view(torch.int32)[-1] = 7
    assert mapped.memory[-4:].tolist() == [7, 0, 0, 0]
    free = torch.cuda.mem_get_info()[0]
    mapped.free()  # the driver gives other memory back, too, and takes some
    assert torch.cuda.mem_get_info()[0] > free


@pytest.mark.gpu
def test_a_range_of_a_gpu_is_mapped_once():
    assert mapped_range("cuda:0", "x", 5) is mapped_range("cuda:0", "x", 2**21)
    assert mapped_range("cuda:0", "x", 5) is not mapped_range("cuda:0", "scales", 5)


@pytest.mark.gpu
@pytest.mark.parametrize("line", LINES)
def test_an_operand_at_the_edge_of_a_gpus_memory_is_the_same_tensor(line):
    operands = Operands(Case.parse(line), "cuda:0")
    for name, guarded in operands.guarded.items():
        for side in SIDES:
            there = at_edge(name, guarded, side, "cuda:0")
            assert torch.equal(guarded.view, there)
            assert (guarded.view.data_ptr() - there.data_ptr()) % BLOCK["cuda"] == 0


@pytest.mark.gpu
def test_a_block_that_a_gpu_reads_and_does_not_use_is_a_crash():
    spec = f"{ROOT}/gptq_fuzz/museum/gpu/reads_behind_qweight.py:f"
    kernel = KernelUnderTest(Launch(spec, str(ROOT), device="cuda:0"))
    try:
        assert kernel.judge(Case.parse(SMALL), ("repeat",)).kind == kinds.PASS
        verdict = kernel.judge(Case.parse(SMALL), ("guarded",), FLAKY_CALLS)
        assert (verdict.kind, verdict.check) == (kinds.CRASHED, "guarded")
        assert "what lies behind qweight was not mapped" in verdict.message
    finally:
        kernel.worker.stop()
