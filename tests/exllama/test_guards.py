"""Each guard of the extension says itself what it wants: no later one has to stand in for it."""

import pytest
import torch

from kernels import exllama
from tests.exllama.layers import GROUP_SIZE, K, N, expected, fresh, inputs, layer_of, parts

__all__ = ["fresh"]
pytestmark = pytest.mark.usefixtures("fresh")
ROWS = 3


def number(device):
    return exllama.CPU if device == "cpu" else 0


def make(device, **changes):
    made = {name: parts(device)[name] for name in ("qweight", "qzeros", "scales")}
    made["g_idx"] = parts()["g_idx"]
    return exllama.make_q4(*(made | changes).values(), number(device))


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
        ({"scales": torch.zeros(K // GROUP_SIZE, N + 8).half()}, "scales must have shape"),
    ],
)
def test_weights_are_refused_for_what_is_wrong_with_them(operand, wanted, device):
    (name,) = operand
    with pytest.raises(ValueError, match=wanted):
        make(device, **{name: operand[name].to(device)})


@pytest.mark.bug("GI-07")
def test_one_row_of_words_and_one_group_are_enough(device):
    small = parts(device, k=8, group_size=8)
    changes = {name: small[name] for name in ("qweight", "qzeros", "scales")}
    handle = make(device, **changes, g_idx=small["g_idx"].cpu())
    layer, x, out = layer_of(device, **small), inputs(device, ROWS, k=8), room(device, ROWS * N)
    exllama.q4_matmul(x, handle, out.view(ROWS, N))
    layer.bias = None
    assert torch.equal(out.view(ROWS, N), expected(layer, x))


@pytest.mark.bug("L-58")
def test_numbers_that_are_not_aligned_are_refused(device):
    x = unaligned(device).view(ROWS, K)
    with pytest.raises(ValueError, match="x must be aligned to 2 bytes"):
        exllama.q4_matmul(x, make(device), room(device, ROWS * N).view(ROWS, N))


@pytest.mark.bug("L-59 BF-01")
def test_scratch_memory_that_is_too_small_says_how_much_is_needed(device):
    """One element less than x has; then just enough."""
    handle = make(device, g_idx=parts(act=True)["g_idx"])
    exllama.set_tuning_params(0, False, False)
    out = room(device, ROWS * N).view(ROWS, N)
    prepare(device, ROWS * K - 1, 1)
    with pytest.raises(ValueError, match=r"temp_state must have 192 elements .* gave 191"):
        exllama.q4_matmul(inputs(device, ROWS), handle, out)
    prepare(device, ROWS * K, 1)
    exllama.q4_matmul(inputs(device, ROWS), handle, out)


def test_operands_in_scratch_memory_are_refused(device):
    """A pass of its own would write over x, or the result over what it reads."""
    handle = make(device, g_idx=parts(act=True)["g_idx"])
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
