"""A closer look at a wrong result names the one substitution behind it, and where it lies."""

import pytest
import torch

from gptq_fuzz._checkout import ROOT
from gptq_fuzz.case.backend import from_callable
from gptq_fuzz.case.case import Case
from gptq_fuzz.oracle import diagnosis
from gptq_fuzz.oracle.diagnosis import ALONE, diagnosed
from gptq_fuzz.oracle.examination import Examination, Request
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.search import Failure
from gptq_fuzz.worker.supervisor import Launch
from tests.suite.known_numerics import operands

LINE = "m4-n16-k32-b4-g8-act-randn"


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """As in a worker: one thread; and however busy the machine is."""
    monkeypatch.setattr(diagnosis, "SECONDS", 600.0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def kernel(change):
    """A right kernel but for `change(q, z, s, g_idx)`, which gives other q, z, s, each [K, N]."""

    def f(x, qweight, qzeros, scales, g_idx, bits):
        q, z, s = change(*operands(qweight, qzeros, scales, g_idx, bits), g_idx)
        return (x.double() @ ((q - z) * s)).to(x.dtype)

    return f


def at(places, right, wrong):
    """`wrong` in these rows of K, `right` elsewhere."""
    return torch.where(places[:, None], wrong, right)


def look(f, line=LINE):
    backend = from_callable(f, "f")
    return diagnosed(lambda c: Examination(backend, c, "cpu", Request()), Case.parse(line))


def first_rows(values, g_idx):
    """[K, N] of each row's group -> [G, N]."""
    return torch.stack([values[g_idx == group][0] for group in range(int(g_idx.max()) + 1)])


K = torch.arange(32)
CHANGES = {
    "zero-points one higher": lambda q, z, s, g: (q, z + 1, s),
    "zero-points one lower": lambda q, z, s, g: (q, z - 1, s),
    "zero-point 16 for 0": lambda q, z, s, g: (q, torch.where(z == 0, 16, z), s),
    "codes as signed numbers": lambda q, z, s, g: (torch.where(q > 7, q - 16, q), z, s),
    "scales rounded to bfloat16": lambda q, z, s, g: (q, z, s.bfloat16().double()),
    "the scale of group 0 for groups 1, 2, 3": lambda q, z, s, g: (
        (q, z, first_rows(s, g)[:1].expand_as(s))
    ),
    "the zero-point of group 0 for groups 1, 2, 3": lambda q, z, s, g: (
        (q, first_rows(z, g)[:1].expand_as(z), s)
    ),
    "group k // group size": lambda q, z, s, g: (
        (q, first_rows(z, g)[K // 8], first_rows(s, g)[K // 8])
    ),
    "the code of the k 1 after": lambda q, z, s, g: (q.roll(-1, 0), z, s),
    "the code of k ^ 1": lambda q, z, s, g: (q[K ^ 1], z, s),
    "the code of the column 1 before": lambda q, z, s, g: (q.roll(1, 1), z, s),
    "the zero-point of the column 1 after": lambda q, z, s, g: (q, z.roll(-1, 1), s),
    "the product left out": lambda q, z, s, g: (q, z, at(K == 31, s, 0 * s)),
}


@pytest.mark.parametrize("words", CHANGES)
def test_the_substitution_behind_a_wrong_result_is_named(words):
    assert look(kernel(CHANGES[words]))["explained"] == words


SEQUENTIAL = "m17-n16-k48-b4-g16-randn"
ROWS = torch.arange(48)
PLACES = {
    "all rows; k 32 to 47 only (the last group; tail of 48 % 32); all columns": ROWS >= 32,
    "all rows; every k in field 7 of 8 of a word; all columns": ROWS % 8 == 7,
    "all rows; k: the first of each group but the first of 16; all columns": (
        (ROWS % 16 == 0) & (ROWS > 0)
    ),
    "all rows; k 16 to 31 of 48 (block 1 of 16); all columns": ROWS // 16 == 1,
    "all rows; every 32th k from 0; all columns": ROWS % 32 == 0,
}


@pytest.mark.parametrize("line", [LINE, "m5-n16-k32-b4-g8-act-bcast-randn"])
def test_rows_that_are_one_in_memory_are_asked_as_one(line):
    assert look(kernel(CHANGES["zero-points one higher"]), line)["explained"] == (
        "zero-points one higher"
    )


@pytest.mark.parametrize("words", PLACES)
def test_the_pattern_along_k_is_told(words):
    found = look(kernel(lambda q, z, s, g: (q, at(PLACES[words], z, z + 1), s)), SEQUENTIAL)
    assert found == {"explained": "zero-points one higher", "pattern": words}


def test_the_pattern_along_rows_and_columns_is_told():
    def f(x, qweight, **more):
        out = kernel(lambda q, z, s, g: (q, z, s))(x, qweight, **more)
        out[16:, 8:] = 0
        return out

    told = {"explained": "the product left out"}
    told["pattern"] = "row 16 only (tail of 17 % 16); all k; columns 8 to 15 only"
    assert look(f, SEQUENTIAL) == told


def test_a_kernel_whose_sums_alone_are_wrong_is_told_from_one_with_wrong_weights():
    def f(x, **more):
        sums = kernel(lambda q, z, s, g: (q, z, s))(x, **more)
        return torch.where((x != 0).sum(1, keepdim=True) > 1, 2 * sums, sums)

    assert look(f) == {"explained": "", "pattern": ALONE}


def test_nothing_is_claimed_for_noise_or_for_a_kernel_that_raises():
    noise = torch.Generator()
    found = look(kernel(lambda q, z, s, g: (q, z, s * (1 + torch.rand(s.shape, generator=noise)))))
    assert found == {"explained": "", "pattern": "all rows; all k; all columns"}

    def f(**_):
        raise RuntimeError("no such path")

    assert look(f)["explained"] == look(f)["pattern"] == ""


REPORTED = {
    # Without a substitution at m = 1: the larger problem that failed first says more
    "gidx_ignored": "explained by group k // group size (in m1-n4-k4-b8-g1-act)\npattern: ",
    "zero_off_by_one_last_group": "explained by zero-points one higher, wrapped\n"
    "pattern: all rows; k 32 to 63 only (the last group); all columns "
    "(in m7-n40-k64-b4-g32-randn)",
}


@pytest.mark.usefixtures("own_environment")
@pytest.mark.parametrize("name", REPORTED)
def test_a_report_holds_both_and_the_line_they_were_found_in(name):
    spec = str(ROOT / "gptq_fuzz" / "museum" / "faulty" / f"{name}.py:f")
    under_test = KernelUnderTest(Launch(spec, str(ROOT), device="cpu"), in_process=True)
    under_test.worker.wait_ready()
    with pytest.raises(Failure) as caught:
        under_test.must_pass_shrunk("m7-n40-k64-b4-g32-randn", checks="all")
    assert REPORTED[name] in str(caught.value)
