"""The five functions: built when needed, each operand checked for itself, handles and memory."""

import atexit
import importlib.util
import itertools
import sys
import weakref

import pytest
import torch

from kernels import exllama
from kernels.exllama import build as exllama_build
from tests.exllama.parts import build_or_skip
from tests.layers.small import GROUP_SIZE, K, N, exllama_linear, expected, inputs, operands

pytestmark = [pytest.mark.usefixtures("fresh"), pytest.mark.turns(2)]
ROWS = 3
WORD = 2**64
NEAR = 2**38  # what one xor with a number's own upper bits can change, four times over
AGAIN = "kernels.exllama_again"


def make(device, **changes):
    weights = {name: operands(device)[name] for name in ("qweight", "qzeros", "scales")}
    weights |= {"g_idx": operands()["g_idx"]} | changes
    return exllama.make_q4(*weights.values(), exllama.CPU if device == "cpu" else 0)


def room(device, elements):
    return torch.zeros(elements, dtype=torch.half, device=device)


def prepare(device, state, weights):
    """Scratch memory of so many elements; temp_state."""
    temp_state = room(device, state)
    where = torch.empty(0, device=device).device
    exllama.prepare_buffers(where, temp_state, room(device, weights))
    return temp_state


def unaligned(device):
    """x [3, K] whose numbers begin in the middle of others."""
    memory = torch.zeros(2 * ROWS * K + 2, dtype=torch.uint8, device=device)
    if device == "cpu":
        return torch.frombuffer(memory.numpy(), dtype=torch.half, count=ROWS * K, offset=1)
    pytest.skip("cpu_only: torch makes no such view of a GPU's memory")


@pytest.mark.bug("L-58 LY-05")
@pytest.mark.parametrize(
    ("operand", "wanted"),
    [
        ({"qweight": torch.zeros(0, N).int()}, "qweight must have 1 to"),
        ({"qweight": torch.zeros(K // 8, 0).int()}, "qweight must have 1 to"),
        ({"qweight": torch.zeros(K // 8, N + 4).int()}, "qweight must have 1 to"),
        ({"qweight": torch.zeros(K // 8, N).int().to_sparse()}, "qweight must be strided"),
        ({"qzeros": torch.zeros(K // GROUP_SIZE, N // 8 + 1).int()}, "qzeros must have 5 columns"),
        ({"qzeros": torch.zeros(K // GROUP_SIZE, 0).int()}, "qzeros must have 5 columns"),
        ({"qzeros": torch.zeros(0, N // 8).int()}, "qzeros must have 1 to"),
        ({"scales": torch.zeros(K // GROUP_SIZE, N + 8).half()}, "scales must have 40 columns"),
        (
            {"qzeros": torch.zeros(K // GROUP_SIZE + 1, N // 8).int()},
            r"qzeros and scales must have a row for each group, got shapes \[5, 5\] and \[4, 40\]",
        ),
    ],
)
def test_weights_are_refused_for_what_is_wrong_with_them(operand, wanted, device):
    (name,) = operand
    with pytest.raises(ValueError, match=wanted):
        make(device, **{name: operand[name].to(device)})


@pytest.mark.bug("GI-07")
def test_one_row_of_words_and_one_group_are_enough(device):
    layer = exllama_linear(device, k=8, group_size=8, bias=None)
    x, out = inputs(device, ROWS, k=8), room(device, ROWS * N).view(ROWS, N)
    exllama.q4_matmul(x, layer.matrix().handle, out)
    assert torch.equal(out, expected(layer, x))


@pytest.mark.bug("L-58")
def test_numbers_that_are_not_aligned_are_refused(device):
    x = unaligned(device).view(ROWS, K)
    with pytest.raises(ValueError, match="x must be aligned to 2 bytes"):
        exllama.q4_matmul(x, make(device), room(device, ROWS * N).view(ROWS, N))


@pytest.mark.bug("L-59 BF-01")
def test_scratch_memory_that_is_too_small_says_how_much_is_needed(device):
    """One element less than x has; then just enough."""
    handle = make(device, g_idx=operands(act=True)["g_idx"])
    exllama.set_tuning_params(0, False, False)
    out = room(device, ROWS * N).view(ROWS, N)
    prepare(device, ROWS * K - 1, 1)
    with pytest.raises(ValueError, match=r"temp_state must have 192 elements .* gave 191"):
        exllama.q4_matmul(inputs(device, ROWS), handle, out)
    prepare(device, ROWS * K, 1)
    exllama.q4_matmul(inputs(device, ROWS), handle, out)


def test_operands_in_scratch_memory_are_refused(device):
    """A pass of its own would write over x, or the result over what it reads."""
    handle = make(device, g_idx=operands(act=True)["g_idx"])
    exllama.set_tuning_params(0, False, False)
    state = prepare(device, ROWS * K, 1)
    out = room(device, ROWS * N).view(ROWS, N)
    with pytest.raises(ValueError, match="x lies in the memory of temp_state"):
        exllama.q4_matmul(state.view(ROWS, K), handle, out)
    with pytest.raises(ValueError, match="out lies in the memory of temp_state"):
        exllama.q4_matmul(inputs(device, ROWS), handle, state[: ROWS * N].view(ROWS, N))


def test_memory_that_begins_where_other_memory_ends_is_apart(device):
    """One element further on is enough."""
    memory = room(device, ROWS * (K + N))
    x, out = memory[: ROWS * K].view(ROWS, K), memory[ROWS * K :].view(ROWS, N)
    exllama.q4_matmul(x, make(device), out)
    memory = memory.flip(0)
    out, x = memory[: ROWS * N].view(ROWS, N), memory[ROWS * N :].view(ROWS, K)
    exllama.q4_matmul(x, make(device), out)


def test_the_functions_are_those_of_the_original_in_its_order(device):
    names = [name for name in vars(build_or_skip(device)) if not name.startswith("__")]
    five = ["set_tuning_params", "prepare_buffers", "cleanup", "make_q4", "q4_matmul"]
    assert names[:5] == five  # what layers and tests need besides comes after them


@pytest.mark.bug("L-66")
def test_no_handle_follows_from_others(device):
    """Handles given out at equal steps do not lie at equal steps, nor nearly so."""
    handles = [make(device, g_idx=None) for _ in range(24)]
    for step, first in itertools.product((1, 2, 4, 8), range(8)):
        one, two, three = handles[first : first + 2 * step + 1 : step]
        off = (one - 2 * two + three) % WORD
        assert min(off, WORD - off) > NEAR, (one, two, three)


@pytest.mark.bug("BF-03")
def test_scratch_memory_lives_until_cleanup_though_the_caller_lets_go(device):
    """The build itself holds it, not only the module around it."""
    build = build_or_skip(device)
    buffers = [torch.zeros(8, dtype=torch.half, device=device) for _ in range(2)]
    build.prepare_buffers(buffers[0].device, *buffers)
    known = [weakref.ref(buffer) for buffer in buffers]
    del buffers
    assert all(ref() is not None for ref in known)
    build.cleanup()
    assert all(ref() is None for ref in known)


class FakeBuild:
    """A build that notes its calls."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *given: self.calls.append((name, *given))


@pytest.fixture
def builds(monkeypatch):
    """Kind of device -> the build that stands for it, once there is one."""
    fake = {}
    monkeypatch.setattr(exllama_build, "extension", lambda kind: fake.setdefault(kind, FakeBuild()))
    return fake


@pytest.fixture
def module(builds, monkeypatch):
    """Another copy of the module, imported just now."""
    spec = importlib.util.spec_from_file_location(
        AGAIN, exllama.__file__, submodule_search_locations=exllama.__path__
    )
    again = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, AGAIN, again)
    monkeypatch.setitem(sys.modules, f"{AGAIN}.build", exllama_build)
    spec.loader.exec_module(again)
    yield again
    atexit.unregister(again.cleanup)


@pytest.mark.bug("L-82")
def test_an_import_asks_for_no_build(module, builds):
    assert not builds


def test_each_device_has_a_build_of_its_own_and_settings_go_to_all(module, builds):
    """Whichever of them was loaded first."""
    for device in (exllama.CPU, 0):
        module.make_q4("qweight", "qzeros", "scales", None, device)
    module.set_tuning_params(0, True, False)
    assert list(builds) == ["cpu", "cuda"]
    for build in builds.values():
        assert [call[0] for call in build.calls] == ["make_q4", "set_tuning_params"]
        assert build.calls[-1][1:] == (0, True, False)


def test_another_kind_of_device_is_refused_before_anything_is_built(module, builds):
    with pytest.raises(ValueError, match="a CPU or a CUDA device, not on meta"):
        module.q4_matmul(torch.empty(1, 8, device="meta"), 0, None)
    assert not builds


def test_generations_are_counted(module):
    """Each cleanup begins another one; none has come before the first."""
    assert module.generation() == 0
    module.cleanup()
    assert module.generation() == 1
