"""A problem as a file: what comes back is what lay in memory, and kernels are judged on it."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import gptq_fuzz
from gptq_fuzz.api.problem_file import load_problem, save_problem
from gptq_fuzz.api.verify import verify
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.backend import Backend, Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.museum.parts import matmul
from gptq_fuzz.oracle.examination import Request
from gptq_fuzz.oracle.given import GivenExamination
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.problem import judge_problem, must_pass_problem
from gptq_fuzz.search.search import FLAKY_CALLS, Failure
from gptq_fuzz.worker.loader import load
from gptq_fuzz.worker.supervisor import Launch

pytestmark = pytest.mark.turns(2)

ROOT = Path(__file__).resolve().parents[2]
FAULTY = "gptq_fuzz/museum/faulty"
LINE = "m6-n16-k96-b4-g32-act-randn"
NAMES = ("x", "qweight", "qzeros", "scales", "g_idx", "bias", "out")


def operands_of(line):
    built = Operands(Case.parse(line), "cpu")
    return {"x": built.left} | built.weights()


def transposed(operands):
    return operands | {
        "x": operands["x"].t().contiguous().t(),
        "scales": operands["scales"].t().contiguous().t(),
    }


def broadcast(operands):
    return operands | {
        "x": operands["x"][:1].expand(6, -1),
        "qzeros": operands["qzeros"][:1].expand(3, -1),
        "scales": operands["scales"][:, :1].expand(-1, 16),
    }


def sliced(operands):
    wide = torch.zeros(40, 200, dtype=operands["x"].dtype)
    return operands | {"x": wide[7:13, 50:146].copy_(operands["x"])}


def three_dimensional(operands):
    return operands | {"x": operands["x"].reshape(3, 2, 96).transpose(0, 1)}


def windows(operands):
    """Rows of x that overlap, and lie behind something else."""
    return operands | {"x": operands["x"].clone().as_strided((6, 96), (3, 1), 7)}


def reversed_windows(operands):
    """Batches that share rows, of which one is there twice."""
    flat = operands["x"].clone()
    return operands | {"x": flat.as_strided((2, 2, 3, 96), (5, 0, 96, 1), 2)}


def far_off(operands):
    buffer = torch.zeros(3 * 2**20 + 5 + 6 * 96, dtype=torch.float16)
    return operands | {"x": buffer[3 * 2**20 + 5 :].view(6, 96).copy_(operands["x"])}


LAYOUTS = [dict, transposed, broadcast, sliced, three_dimensional, windows, reversed_windows]


def equal(one, other):
    return torch.equal(one, other) and (one.dtype, one.stride()) == (other.dtype, other.stride())


@pytest.mark.parametrize("lay", LAYOUTS)
@pytest.mark.parametrize("line", [LINE, f"{LINE}-s3", "m6-n16-k96-b2-g32-v2-bf16-sf32-bias-randn"])
def test_every_operand_comes_back_as_it_lay(tmp_path, lay, line):
    operands = lay(operands_of(line))
    out = torch.arange(96, dtype=operands["x"].dtype).view(16, 6).t()
    save_problem(tmp_path / "p.safetensors", **operands, out=out)
    problem = load_problem(tmp_path / "p.safetensors")
    for name, tensor in (operands | {"out": out}).items():
        if isinstance(tensor, torch.Tensor):
            found = getattr(problem, name)
            assert equal(found, tensor), name
            assert found.storage_offset() == tensor.storage_offset(), name
        else:
            assert getattr(problem, name) == tensor, name


def test_a_far_offset_keeps_its_alignment_and_not_its_memory(tmp_path):
    operands = far_off(operands_of(LINE))
    save_problem(tmp_path / "p", **operands)
    assert (tmp_path / "p").stat().st_size < 10_000
    x = load_problem(tmp_path / "p").x
    assert x.storage_offset() == 5
    assert equal(x, operands["x"])


def test_one_row_for_all_is_stored_once(tmp_path):
    operands = operands_of("m6-n16-k96-b4-g32-randn")
    save_problem(tmp_path / "p", **operands | {"x": operands["x"][:1].expand(4096, 96)})
    assert load_file(tmp_path / "p")["x"].shape == (1, 96)
    assert load_problem(tmp_path / "p").x.shape == (4096, 96)


def test_what_windows_share_is_stored_once(tmp_path):
    operands = windows(operands_of("m6-n16-k96-b4-g32-randn"))
    save_problem(tmp_path / "p", **operands)
    assert torch.equal(load_file(tmp_path / "p")["x"], operands["x"].as_strided((111,), (1,), 7))


def test_what_lies_between_windows_is_not_stored(tmp_path):
    x = torch.ones(1000).half().as_strided((2, 6, 96), (500, 1, 1), 3)
    save_problem(tmp_path / "p", **operands_of(LINE) | {"x": x})
    assert load_file(tmp_path / "p")["x"].sum() == 2 * 101
    assert equal(load_problem(tmp_path / "p").x, x)


def test_a_stored_output_is_judged_by_its_operands(tmp_path):
    operands = operands_of(LINE)
    kernel = {name: operands[name] for name in (*NAMES[:5], "bits")}
    out = matmul(**kernel)
    save_problem(tmp_path / "p", **operands, out=out)
    problem = load_problem(tmp_path / "p")
    assert verify(problem.out, **problem.operands()).ok
    assert not verify(problem.out + 1, **problem.operands()).ok


def test_versions_and_strides_are_in_the_metadata(tmp_path):
    save_problem(tmp_path / "p", **transposed(operands_of(LINE)))
    with safe_open(tmp_path / "p", "pt") as stored:
        metadata = stored.metadata()
    assert metadata["gptq_fuzz"] == gptq_fuzz.__version__
    assert metadata["torch"] == torch.__version__
    assert (metadata["bits"], metadata["checkpoint_format"]) == ("4", '"v1"')
    described = json.loads(metadata["operands"])
    assert described["x"] == {"shape": [6, 96], "strides": [1, 6], "offset": 0}


def test_a_file_stays_as_it_was_where_another_could_not_be_written(tmp_path, monkeypatch):
    save_problem(tmp_path / "p", **operands_of(LINE))
    before = (tmp_path / "p").read_bytes()

    def full_disk(*_paths):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="no space left"):
        save_problem(tmp_path / "p", **operands_of(f"{LINE}-s1"))
    assert (tmp_path / "p").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"scales": torch.zeros(3, 16, dtype=torch.int32)}, TypeError, "scales must be"),
        ({"x": torch.zeros(6, 96, device="meta").half()}, ValueError, "x must hold numbers"),
        ({"out": [1.0]}, TypeError, "out must be a tensor, got list"),
        ({"out": torch.zeros(6, 16, device="meta")}, ValueError, "out cannot be stored: it is"),
        ({"out": torch.zeros(6, 16).to_sparse()}, ValueError, "out cannot be stored: it is"),
        (
            {
                "x": torch.empty(2**31 + 200, dtype=torch.float16).as_strided(
                    (2, 3, 96), (2**31, 1, 1)
                )
            },
            ValueError,
            "x cannot be stored: elements of shape",
        ),
        ({"out": torch.zeros(6, 16, dtype=torch.complex128).t()}, ValueError, "out cannot be"),
    ],
)
def test_what_cannot_be_stored_is_named(tmp_path, change, error, words):
    with pytest.raises(error, match=words):
        save_problem(tmp_path / "p", **operands_of(LINE) | change)
    assert not list(tmp_path.iterdir())


def rewritten(path, cells=None, metadata=None):
    """The file with other cells or other metadata."""
    with safe_open(path, "pt") as stored:
        data = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        notes = stored.metadata()
    data |= cells or {}
    notes |= metadata or {}
    kept = {name: value for name, value in data.items() if value is not None}
    save_file(kept, path, {name: value for name, value in notes.items() if value is not None})


def described(**changes):
    """Metadata of a file with some operands described otherwise."""
    plain = {
        "x": ([6, 96], [96, 1]),
        "qweight": ([12, 16], [16, 1]),
        "qzeros": ([3, 2], [2, 1]),
        "scales": ([3, 16], [16, 1]),
        "g_idx": ([96], [1]),
    }
    operands = {
        name: {"shape": shape, "strides": strides, "offset": 0}
        for name, (shape, strides) in plain.items()
    }
    return {"operands": json.dumps(operands | changes)}


@pytest.mark.parametrize(
    ("cells", "metadata", "words"),
    [
        ({}, {"bits": None}, "its metadata lack bits"),
        ({}, {"bits": None, "operands": None}, "its metadata lack bits, operands"),
        ({}, {"bits": "4.5"}, "bits must be one of 1, 2, 3, 4, 5, 6, 7, 8, got 4.5"),
        ({}, {"bits": "four"}, "bits in its metadata is no JSON: 'four'"),
        ({}, {"group_size": "0"}, "group_size must be"),
        ({}, {"checkpoint_format": '"v3"'}, "checkpoint_format must be one of v1, v2"),
        ({}, {"operands": "[]"}, "its metadata describe"),
        ({}, described(x=None), "x is described by None, wanted shape, strides and offset"),
        ({}, described(x={"shape": [6, 96], "strides": [96], "offset": 0}), "x is described by"),
        ({}, described(x={"shape": [6, 96], "strides": [-1, 1], "offset": 0}), "x is described"),
        ({}, described(x={"shape": [6, 96], "strides": [96, 1], "offset": "0"}), "x is described"),
        ({}, described(x={"shape": [6, 96], "strides": [2**50, 1], "offset": 0}), "x of shape"),
        ({}, described(x={"shape": [6, 96], "strides": [1, 1], "offset": 0}), "does not lie in"),
        ({}, described(x={"shape": [7, 96], "strides": [96, 1], "offset": 0}), "does not lie in"),
        ({}, described(x={"shape": [6, 96], "strides": [0, 1], "offset": 0}), "does not lie in"),
        ({"x": None}, {}, "its metadata describe"),
        ({"surplus": torch.zeros(2)}, {}, "its metadata describe"),
        ({"g_idx": torch.full((96,), 3, dtype=torch.int32)}, {}, r"g_idx must be in 0\.\.2"),
        ({"scales": torch.zeros(3, 16, dtype=torch.int32)}, {}, "scales must be torch.float16"),
    ],
)
def test_a_malformed_file_is_refused_with_what_is_wrong(tmp_path, cells, metadata, words):
    path = tmp_path / "p"
    save_problem(path, **operands_of(LINE))
    rewritten(path, cells, metadata)
    with pytest.raises(ValueError, match=words) as raised:
        load_problem(path)
    assert str(raised.value).startswith(f"{path} holds no problem: ")


@pytest.mark.parametrize("content", [b"", b"text", b"\xff" * 100])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "p").write_bytes(content)
    with pytest.raises(ValueError, match="holds no problem"):
        load_problem(tmp_path / "p")


def test_an_absent_file_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_problem(tmp_path / "p")


@pytest.fixture
def stored(tmp_path):
    """A file of operands of which none is contiguous."""
    operands = sliced(transposed(operands_of(LINE)))
    save_problem(tmp_path / "p file", **operands)
    return tmp_path / "p file"


@pytest.fixture
def kernel(request):
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    under_test = KernelUnderTest(Launch(request.param, str(ROOT), device=device))
    under_test.worker.start()
    yield under_test
    under_test.worker.stop()


@pytest.mark.parametrize("lay", [windows, reversed_windows])
@pytest.mark.parametrize(
    ("name", "kind"), [("gidx_ignored", kinds.WRONG), ("x_changed", kinds.INPUT_CHANGED)]
)
def test_a_kernel_is_judged_on_windows(tmp_path, lay, name, kind):
    save_problem(tmp_path / "p", **lay(operands_of(LINE)))
    problem = load_problem(tmp_path / "p")
    found = [
        GivenExamination(load(spec, "."), problem, "cpu", Request()).verdict()
        for spec in ("torch", f"{ROOT / FAULTY / name}.py:f")
    ]
    assert [verdict.kind for verdict in found] == [kinds.PASS, kind]


@pytest.mark.parametrize("kernel", ["torch", "triton", "exllama"], indirect=True)
def test_built_in_kernels_pass_on_a_file(kernel, stored):
    verdict = judge_problem(kernel, stored)
    assert verdict.kind == kinds.PASS, str(verdict)
    assert (kernel.coverage.judged, kernel.findings) == (1, [])


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("gidx_ignored", kinds.WRONG, "of 96 elements"),
        ("x_changed", kinds.INPUT_CHANGED, "the kernel changed x"),
        ("writes_out_of_bounds", kinds.OUT_OF_BOUNDS, "wrote outside x"),
        ("float32_result", kinds.WRONG_TYPE, "got torch.float32 (6, 16)"),
        ("changes_global_state", kinds.STATE_LEAKED, "default dtype"),
        ("one_in_thirty", kinds.NONDETERMINISTIC, "of 96 elements"),
    ],
)
def test_what_surrounds_a_call_is_watched_as_in_a_case(stored, name, kind, words):
    backend, problem = load(f"{ROOT / FAULTY / name}.py:f", "."), load_problem(stored)
    verdict = GivenExamination(backend, problem, "cpu", Request(calls=FLAKY_CALLS)).verdict()
    assert verdict.kind == kind, str(verdict)
    assert words in verdict.message


@pytest.mark.parametrize(
    ("kernel", "kind", "words"),
    [
        (f"{FAULTY}/zero_not_wrapped.py:f", kinds.WRONG, "of 96 elements"),
        (f"{FAULTY}/crashes.py:f", kinds.CRASHED, "died of SIGSEGV"),
    ],
    indirect=["kernel"],
)
def test_a_finding_names_the_command_that_shows_it(kernel, stored, kind, words):
    with pytest.raises(Failure) as raised:
        must_pass_problem(kernel, stored)
    assert raised.value.verdict.kind == kind
    assert words in raised.value.verdict.message
    command = str(raised.value).splitlines()[0]
    assert command == (
        f"reproduce: gptq-fuzz --kernel {kernel.spec} --device {kernel.launch.device} "
        f"'--problem={stored}'"
    )
    assert [finding.text() for finding in kernel.findings] == [str(raised.value)]


def test_a_kernel_in_this_process_is_judged_on_a_file(stored, own_environment):
    kernel = KernelUnderTest(Launch("torch", str(ROOT), device="cpu"), in_process=True)
    kernel.worker.wait_ready()
    assert judge_problem(kernel, stored).kind == kinds.PASS


def test_a_file_that_holds_no_problem_ends_the_run_and_not_the_worker(tmp_path):
    (tmp_path / "p").write_text("text")
    kernel = KernelUnderTest(Launch("torch", str(ROOT), device="cpu"))
    with pytest.raises(ValueError, match="holds no problem"):
        judge_problem(kernel, tmp_path / "p")


def test_rows_in_order_are_spelled_out_for_a_kernel_that_wants_g_idx(tmp_path):
    """As in a case: a plain function always gets g_idx."""
    operands = operands_of("m3-n16-k96-b4-g32-randn")
    seen = []

    def f(*, x, qweight, qzeros, scales, g_idx, bits, group_size, **_described):
        seen.append((g_idx, group_size))
        sequential = torch.arange(96, dtype=torch.int32) // 32
        return matmul(x, qweight, qzeros, scales, sequential, bits)

    bare = {name: operands[name] for name in ("x", "qweight", "qzeros", "scales", "bits")}
    save_problem(tmp_path / "p", **bare)
    problem = load_problem(tmp_path / "p")
    for g_idx in (("seq",), ("seq", "none")):
        backend = Backend("f", Limits(g_idx=g_idx), matmul=f)
        assert GivenExamination(backend, problem, "cpu", Request()).verdict().ok
    assert seen[0][0].tolist() == operands["g_idx"].tolist()
    assert seen[-1][0] is None
    assert {size for _, size in seen} == {32}
