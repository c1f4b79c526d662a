"""QuantLinear.pack: exact for every code and zero-point, and all or nothing."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from kernels.quant_linear import QuantLinear
from reference.packing import unpack_rows, unpack_zeros

ALL_BITS = (2, 4, 8)
K, N, GROUP_SIZE = 64, 32, 16


def grid(bits, groups=K // GROUP_SIZE, n=N, k=K, seed=0):
    """codes [K, N], zeros [N, G], power-of-two scales [N, G]."""
    maker = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 2**bits, (k, n), generator=maker)
    zeros = torch.randint(0, 2**bits, (n, groups), generator=maker)
    scales = 2.0 ** torch.randint(-6, 3, (n, groups), generator=maker)
    return codes, zeros, scales


def linear_of(codes, zeros, scales, g_idx, bias=None, dtype=torch.float32):
    """A linear layer whose weights lie exactly on the grid."""
    k, n = codes.shape
    groups = g_idx.long()
    weight = (codes.T - zeros[:, groups]) * scales[:, groups]
    linear = nn.Linear(k, n, bias=bias is not None)
    linear.weight = nn.Parameter(weight.to(dtype))
    if bias is not None:
        linear.bias = nn.Parameter(bias)
    return linear


def sequential(k=K, group_size=GROUP_SIZE):
    return (torch.arange(k) // group_size).int()


def new(bits, bias=False, device="cpu"):
    return QuantLinear.new(bits, GROUP_SIZE, K, N, bias).to(device)


def assert_holds(layer, codes, zeros, scales):
    assert torch.equal(unpack_rows(layer.qweight, layer.bits).cpu(), codes)
    assert torch.equal(unpack_zeros(layer.qzeros, layer.bits).cpu(), zeros.T.long())
    assert torch.equal(layer.scales.cpu(), scales.T.half())


@pytest.mark.bug("PK-01 PK-06 PK-11 PK-13 PK-16 L-13 GI-11")
@pytest.mark.parametrize("bits", ALL_BITS)
@pytest.mark.parametrize("order", ["sequential", "shuffled", "gaps"])
def test_codes_and_zeros_come_back(bits, order, device):
    """Bit for bit, any order of rows."""
    codes, zeros, scales = grid(bits)
    g_idx = sequential()
    if order == "shuffled":
        g_idx = g_idx[torch.randperm(K, generator=torch.Generator().manual_seed(1))]
    elif order == "gaps":
        g_idx = torch.where(g_idx == 1, 3, g_idx).int()
    layer = new(bits, device=device)
    layer.pack(linear_of(codes, zeros, scales, g_idx), scales, zeros, g_idx)
    assert_holds(layer, codes, zeros, scales)
    assert torch.equal(layer.g_idx.cpu(), g_idx)


@pytest.mark.bug("PK-01 PK-02 PK-03 L-13")
@pytest.mark.parametrize("bits", ALL_BITS)
@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bfloat16, torch.float32])
def test_every_zero_point_is_kept_beside_its_neighbours(bits, dtype):
    """Also 0, first in its word, and in every dtype."""
    codes, _, scales = grid(bits)
    for shift in range(2**bits):
        zeros = ((torch.arange(N * 4).view(N, 4) + shift) % 2**bits).to(dtype)
        layer = new(bits)
        layer.pack(linear_of(codes, zeros.int(), scales, sequential()), scales, zeros)
        assert torch.equal(unpack_zeros(layer.qzeros, bits), zeros.T.long())


@pytest.mark.parametrize("bits", ALL_BITS)
def test_every_code_is_kept_beside_its_neighbours(bits):
    codes = (torch.arange(K)[:, None] * 7 + torch.arange(N)) % 2**bits
    _, zeros, scales = grid(bits)
    layer = new(bits)
    layer.pack(linear_of(codes, zeros, scales, sequential()), scales, zeros)
    assert_holds(layer, codes, zeros, scales)


@pytest.mark.bug("L-15 B-02")
@pytest.mark.parametrize("bits", ALL_BITS)
@pytest.mark.parametrize("step", [-1, 1, 100])
def test_weights_off_the_grid_are_clamped(bits, step):
    """Neighbours of the field stay as they were."""
    codes, zeros, scales = grid(bits)
    codes[3, 5] = 0 if step < 0 else 2**bits - 1
    linear = linear_of(codes, zeros, scales, sequential())
    linear.weight.data[5, 3] += step * scales[5, 0]
    layer = new(bits)
    layer.pack(linear, scales, zeros)
    assert_holds(layer, codes, zeros, scales)


@pytest.mark.bug("L-16 PK-13 PK-15 B-04")
@given(seed=st.integers(0, 2**32), bits=st.sampled_from(ALL_BITS))
def test_codes_are_weights_rounded_onto_the_stored_scale(seed, bits):
    """The float16 scale, also negative; half to even; clamped."""
    maker = torch.Generator().manual_seed(seed)
    linear = nn.Linear(K, N)
    linear.weight.data = torch.randn(N, K, generator=maker)
    scales = torch.randn(N, 4, generator=maker) + torch.tensor(1e-3)
    zeros = torch.randint(0, 2**bits, (N, 4), generator=maker)
    layer = new(bits)
    layer.pack(linear, scales, zeros)
    groups = sequential().long()
    steps = linear.weight.double() / scales.half().double()[:, groups] + zeros[:, groups]
    codes = steps.round().clamp(0, 2**bits - 1).long().T
    assert torch.equal(unpack_rows(layer.qweight, bits), codes)


@pytest.mark.bug("L-16 B-03 B-04")
@pytest.mark.parametrize("scale", [6e-8, 1e-7, 1e-5, 65504.0, -0.5])
def test_a_scale_that_float16_holds_is_taken(scale):
    """Subnormal, largest and negative."""
    codes, zeros, _ = grid(4)
    scales = torch.full((N, 4), scale).half().float()
    layer = new(4)
    layer.pack(linear_of(codes, zeros, scales, sequential()), scales, zeros)
    assert_holds(layer, codes, zeros, scales)


def spoiled(**changes):
    """Arguments of pack, of which some are replaced."""
    codes, zeros, scales = grid(4)
    good = linear_of(codes, zeros, scales, sequential(), torch.ones(N))
    return {"linear": good, "scales": scales, "zeros": zeros, "g_idx": sequential()} | changes


def with_value(tensor, value):
    changed = tensor.clone().float()
    changed[3, 2] = value
    return changed


def linear_with(k=K, n=N, bias=1.0, weight=0.0, biases=N):
    linear = nn.Linear(k, n)
    linear.bias = nn.Parameter(torch.full((biases,), bias))
    linear.weight.data[0, 0] = weight
    return linear


def linear_of_integers():
    linear = nn.Linear(K, N)
    linear.weight = nn.Parameter(torch.ones(N, K, dtype=torch.int8), requires_grad=False)
    return linear


REFUSED = {
    **{f"scale-{s}": {"scales": with_value(grid(4)[2], s)}
       for s in (0.0, 1e-8, 2e-8, 65520.0, float("inf"), float("nan"))},
    **{f"zero-{z}": {"zeros": with_value(grid(4)[1], z)}
       for z in (-1, 16, 7.5, float("inf"), float("nan"))},
    "scales-transposed": {"scales": torch.ones(4, N)},
    "zeros-one-group": {"zeros": torch.ones(N, 1)},
    "scales-rank": {"scales": torch.ones(N)},
    "g_idx-negative": {"g_idx": sequential() - 1},
    "g_idx-too-large": {"g_idx": sequential() + 1},
    "g_idx-short": {"g_idx": sequential()[:-1]},
    "g_idx-rank": {"g_idx": sequential()[None]},
    "weight-nan": {"linear": linear_with(weight=float("nan"))},
    "weight-narrow": {"linear": linear_with(k=K - 16)},
    "weight-short": {"linear": linear_with(n=N - 8)},
    "bias-too-large": {"linear": linear_with(bias=65520.0)},
    "bias-long": {"linear": linear_with(biases=N + 1)},
    "grouped-convolution": {"linear": nn.Conv2d(2 * K, N, 1, groups=2)},
}  # fmt: skip


@pytest.mark.bug("L-16 L-23 L-24 PK-12 PK-15 B-03 B-05")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_stored_raises_and_changes_nothing(name):
    layer = new(4)
    layer.pack(**spoiled())
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(ValueError, match=r"must|lie"):
        layer.pack(**spoiled(**REFUSED[name]))
    assert before.keys() == layer.state_dict().keys()
    assert all(torch.equal(before[key], tensor) for key, tensor in layer.state_dict().items())


@pytest.mark.bug("L-23")
@pytest.mark.parametrize(
    "changes",
    [{"scales": torch.ones(N, 4).int()}, {"zeros": torch.ones(N, 4).bool()},
     {"g_idx": sequential().long()}, {"scales": [[1.0]]}, {"linear": linear_of_integers()}],
    ids=["integer-scales", "bool-zeros", "int64-g_idx", "list", "integer-weights"],
)  # fmt: skip
def test_wrong_types_raise(changes):
    with pytest.raises(TypeError, match="must be"):
        new(4).pack(**spoiled(**changes))


@pytest.mark.bug("L-14 B-01")
def test_the_arguments_of_pack_stay_as_they_are():
    """Also where transposing makes no copy."""
    layer = QuantLinear.new(4, -1, K, N, False)
    zeros, scales = torch.arange(N)[:, None] % 16, torch.ones(N, 1)
    linear, g_idx = nn.Linear(K, N), torch.zeros(K, dtype=torch.int32)
    before = copy.deepcopy((zeros, scales, g_idx, linear.weight.data, linear.bias.data))
    layer.pack(linear, scales, zeros, g_idx)
    first = layer.qzeros.clone()
    layer.pack(linear, scales, zeros, g_idx)
    assert torch.equal(first, layer.qzeros)
    after = (zeros, scales, g_idx, linear.weight.data, linear.bias.data)
    assert all(map(torch.equal, before, after))


@pytest.mark.bug("L-14 L-21")
def test_the_packed_layer_shares_no_memory_with_the_arguments():
    arguments = spoiled()
    arguments["scales"] = arguments["scales"].half()
    arguments["linear"] = arguments["linear"].half()
    layer = new(4)
    layer.pack(**arguments)
    given_tensors = [arguments["scales"], arguments["g_idx"], arguments["linear"].bias]
    taken = {tensor.untyped_storage().data_ptr() for tensor in given_tensors}
    assert not taken & {t.untyped_storage().data_ptr() for t in layer.state_dict().values()}
    assert not any(tensor.requires_grad for tensor in layer.buffers())


@pytest.mark.bug("LY-02")
@pytest.mark.parametrize("strided", ["weight", "scales", "zeros", "g_idx"])
def test_strides_of_the_arguments_do_not_matter(strided):
    arguments = spoiled()
    layer, other = new(4), new(4)
    layer.pack(**arguments)
    if strided == "weight":
        arguments["linear"].weight.data = arguments["linear"].weight.data.t().contiguous().t()
    else:
        arguments[strided] = arguments[strided].repeat_interleave(2, dim=-1)[..., ::2]
    other.pack(**arguments)
    assert all(map(torch.equal, layer.buffers(), other.buffers()))


@pytest.mark.bug("L-24")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("there", ["linear", "scales", "zeros", "g_idx"])
def test_operands_of_any_float_dtype_on_any_device_are_packed(there, dtype, device):
    """Bfloat16, and one of them on a GPU, onto a layer on the CPU."""
    codes, zeros, scales = grid(4)
    given = {"linear": linear_of(codes, zeros, scales, sequential(), dtype=dtype)}
    given |= {"scales": scales.to(dtype), "zeros": zeros.to(dtype), "g_idx": sequential()}
    layer = new(4)
    layer.pack(**given | {there: given[there].to(device)})
    assert_holds(layer, codes, zeros, scales)
    assert layer.scales.dtype == torch.float16
    assert {buffer.device.type for buffer in layer.buffers()} == {"cpu"}


class Conv1D(nn.Module):
    """Stands for the class of this name in transformers: weight [in, out]."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = None


@pytest.mark.bug("L-25")
def test_conv1d_and_conv2d_are_packed_as_the_matrices_they_are():
    codes, zeros, scales = grid(4)
    linear = linear_of(codes, zeros, scales, sequential())
    conv2d = nn.Conv2d(K // 4, N, 2, bias=False)
    conv2d.weight = nn.Parameter(linear.weight.detach().view(N, K // 4, 2, 2))
    for module in (Conv1D(linear.weight.detach().t()), conv2d):
        layer = new(4)
        layer.pack(module, scales, zeros)
        assert_holds(layer, codes, zeros, scales)


@pytest.mark.bug("L-20 L-21 L-22 DT-05")
@pytest.mark.parametrize("made_with_bias", [False, True])
@pytest.mark.parametrize("bias", [None, torch.arange(N).float()])
def test_the_bias_after_packing_is_that_of_the_linear_layer(made_with_bias, bias):
    """A buffer or nothing, whatever the layer had before."""
    codes, zeros, scales = grid(4)
    layer = new(4, bias=made_with_bias)
    layer.pack(linear_of(codes, zeros, scales, sequential(), torch.ones(N)), scales, zeros)
    layer.pack(linear_of(codes, zeros, scales, sequential(), bias), scales, zeros)
    assert ("bias" in layer.state_dict()) == (bias is not None)
    if bias is not None:
        assert torch.equal(layer.bias, bias.half())
        assert not layer.bias.requires_grad


@pytest.mark.bug("PK-14")
def test_packing_leaves_threads_and_random_numbers_alone():
    threads, random = torch.get_num_threads(), torch.get_rng_state()
    new(4).pack(**spoiled())
    assert torch.get_num_threads() == threads
    torch.set_rng_state(random)
    arguments = spoiled()
    state = torch.get_rng_state()
    new(4).pack(**arguments)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.bug("B-32")
def test_a_layer_without_data_is_not_packed():
    with pytest.raises(ValueError, match="meta"):
        new(4, device="meta").pack(**spoiled())
