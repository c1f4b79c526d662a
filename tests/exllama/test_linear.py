"""ExllamaQuantLinear as a module: construction, ranks, dtypes, state, buffers, devices."""

import copy
import gc
import io
import pickle

import pytest
import torch

from kernels import exllama
from kernels.exllama import linear as exllama_linear
from kernels.exllama.linear import ExllamaQuantLinear
from tests.exllama.layers import NAMES, K, N, expected, fresh, inputs, is_right, layer_of, parts

__all__ = ["fresh"]
pytestmark = pytest.mark.usefixtures("fresh")


@pytest.mark.bug("L-71 LY-03 LY-04 L-64")
@pytest.mark.parametrize("act", [False, True])
@pytest.mark.parametrize(
    "leading", [(), (3,), (2, 3), (2, 1, 3), (0,), (2, 0), (7,), (8,), (65,)], ids=str
)
def test_inputs_of_any_rank_are_multiplied(act, leading, device):
    """Below and above the threshold of rows."""
    layer, x = layer_of(device, act=act), inputs(device, *leading)
    out = layer(x)
    assert out.shape == (*leading, N)
    assert torch.equal(out, expected(layer, x))


VIEWS = (
    lambda x: x.transpose(0, 1),
    lambda x: x[:, ::2],
    lambda x: x[::2, 1:],
    lambda x: x[:1].expand(4, -1, -1),
    lambda x: x.transpose(0, 2).contiguous().transpose(0, 2),
)


@pytest.mark.bug("L-58 L-71 LY-01")
@pytest.mark.parametrize("view", VIEWS)
def test_strided_inputs_are_as_good_as_contiguous_ones(view, device):
    layer, x = layer_of(device, act=True), view(inputs(device, 4, 5))
    assert torch.equal(layer(x), layer(x.contiguous()))


@pytest.mark.bug("B-16 L-58")
def test_an_odd_storage_offset_is_no_obstacle(device):
    wide = inputs(device, 4, k=K + 1)
    x = wide.flatten()[1 : 1 + 3 * K].view(3, K)
    assert is_right(layer_of(device, act=True), x)


@pytest.mark.bug("L-74 L-78 L-53 L-70")
@pytest.mark.parametrize(
    ("changes", "error"),
    [({"bits": 2}, NotImplementedError), ({"bits": 3}, NotImplementedError),
     ({"bits": 8}, NotImplementedError), ({"bits": 4.0}, NotImplementedError),
     ({"qweight": None}, TypeError), ({"qweight": parts()["qweight"].long()}, TypeError),
     ({"qzeros": parts()["qzeros"][:2]}, ValueError), ({"qzeros": None}, TypeError),
     ({"scales": parts()["scales"].t()}, ValueError), ({"groupsize": 0}, ValueError),
     ({"scales": parts()["scales"].float()}, TypeError), ({"g_idx": [0] * K}, TypeError),
     ({"scales": parts()["scales"].bfloat16()}, TypeError), ({"groupsize": None}, TypeError),
     ({"g_idx": parts()["g_idx"] + 1}, ValueError), ({"g_idx": parts()["g_idx"] - 1}, ValueError),
     ({"g_idx": parts()["g_idx"][1:]}, ValueError), ({"g_idx": None, "groupsize": 48}, ValueError),
     ({"bias": torch.ones(N + 1)}, ValueError), ({"bias": torch.ones(N).int()}, TypeError)],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value.__name__,
)  # fmt: skip
def test_operands_that_do_not_fit_are_refused_at_construction(changes, error):
    """An exception, not an assertion, and at once."""
    with pytest.raises(error):
        ExllamaQuantLinear(**parts(**changes))


@pytest.mark.bug("GI-03 L-19 L-75")
@pytest.mark.parametrize("group_size", [-1, 24, K])
def test_without_g_idx_groups_follow_each_other(group_size, device):
    """One group, and a partial last one."""
    k = 64
    G = 1 if group_size == -1 else -(-k // group_size)
    narrow = parts(device, group_size=k // G) | {"groupsize": group_size, "g_idx": None}
    narrow |= {name: narrow[name][:G] for name in ("qzeros", "scales")}
    layer = ExllamaQuantLinear(**narrow)
    size = k if group_size == -1 else group_size
    assert layer.g_idx.tolist() == [row // size for row in range(k)]
    assert is_right(layer, inputs(device, 3))


@pytest.mark.bug("L-78")
def test_a_plain_g_idx_needs_no_room_for_x_in_another_order(device):
    """No activation-order path for groups in order; the answers are the same."""
    plain, absent = layer_of(device), ExllamaQuantLinear(**parts(device, g_idx=None))
    assert torch.equal(plain(inputs(device, 9)), absent(inputs(device, 9)))
    assert exllama.buffers(plain.qweight.device)[0].numel() == 0


@pytest.mark.bug("L-69 GI-02")
def test_zeros_in_g_idx_are_group_zero(device):
    layer = ExllamaQuantLinear(**parts(device, g_idx=torch.zeros(K, device=device).int()))
    assert is_right(layer, inputs(device, 3))


@pytest.mark.bug("L-62 BF-07")
def test_the_caller_s_tensors_are_not_written(device):
    """Twice from the same tensors gives the same."""
    operands = parts(device, act=True)
    before = copy.deepcopy(operands)
    first, second = ExllamaQuantLinear(**operands), ExllamaQuantLinear(**operands)
    x = inputs(device, 9)
    assert torch.equal(first(x), second(x))
    assert all(torch.equal(operands[name], before[name]) for name in NAMES)


@pytest.mark.bug("L-68 B-30 L-20")
def test_state_survives_every_way_of_copying(device):
    layer, x = layer_of(device, act=True), inputs(device, 9)
    want, saved = layer(x), io.BytesIO()
    torch.save(layer.state_dict(), saved)
    saved.seek(0)
    loaded = layer_of(device, seed=5)
    loaded(x)
    loaded.load_state_dict(torch.load(saved, weights_only=True))
    for twin in (loaded, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), layer.to(device)):
        assert torch.equal(twin(x), want)


@pytest.mark.bug("GI-01 L-23")
def test_a_state_with_a_wrong_g_idx_is_refused_before_it_is_copied():
    layer = layer_of("cpu")
    state = {key: value + 1 for key, value in layer.state_dict().items()}
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(ValueError, match="g_idx must lie"):
        layer.load_state_dict(state)
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())


CHANGES = {
    "written": lambda layer: layer.qweight.neg_(),
    "replaced": lambda layer: setattr(layer, "qweight", layer.qweight.neg()),
    "data": lambda layer: setattr(layer.qweight, "data", layer.qweight.neg()),
    "scales": lambda layer: layer.scales.mul_(2),
    "g_idx": lambda layer: layer.g_idx.copy_(layer.g_idx.flip(0)),
    "bias": lambda layer: layer.bias.neg_(),
}


@pytest.mark.bug("B-22 L-66 L-68")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changed_weights_are_noticed(change, device):
    layer, x = layer_of(device, act=True), inputs(device, 3)
    layer(x)
    change(layer)
    assert is_right(layer, x)


@pytest.mark.bug("B-20 L-66 L-76")
def test_layers_outlive_a_cleanup_and_their_neighbours(device):
    """The one that is gone is pinned by nobody."""
    layers, x = [layer_of(device, act=True, seed=seed) for seed in range(3)], inputs(device, 9)
    for layer in layers:
        layer(x)
    exllama.cleanup()
    del layers[1], layer
    gc.collect()
    assert len(exllama_linear._layers) == 2
    assert all(is_right(layer, x) for layer in layers)


@pytest.mark.bug("L-27")
@pytest.mark.parametrize("cast", ["half", "float"])
def test_casts_of_the_module_change_neither_values_nor_dtype(cast, device):
    layer, x = layer_of(device), inputs(device, 3)
    out = layer(x)
    assert out.dtype == torch.float16
    assert torch.equal(getattr(layer, cast)()(x), out)


@pytest.mark.bug("L-27 L-78")
def test_scales_that_are_no_halves_are_refused(device):
    """Float16 would round them."""
    layer = layer_of(device).float()
    layer.scales.mul_(1 + 2.0**-15)
    with pytest.raises(ValueError, match=r"scales must be exact in torch\.float16"):
        layer(inputs(device, 3))


@pytest.mark.bug("DT-01 L-71")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.int32])
def test_other_inputs_are_refused(dtype, device):
    with pytest.raises(TypeError, match="x must be"):
        layer_of(device)(inputs(device, 3).to(dtype))


@pytest.mark.bug("DT-01")
def test_autocast_to_float16_casts(device):
    layer, x = layer_of(device), inputs(device, 3)
    with torch.autocast(device, dtype=torch.float16):
        assert torch.equal(layer(x.float()), layer(x))


@pytest.mark.bug("DT-06")
def test_a_gradient_is_refused_and_not_dropped(device):
    layer, x = layer_of(device), inputs(device, 3).requires_grad_()
    with pytest.raises(NotImplementedError, match="no gradient"):
        layer(x)
    with torch.no_grad():
        assert is_right(layer, x)


@pytest.mark.bug("B-32")
def test_inference_mode_works(device):
    with torch.inference_mode():
        layer, x = layer_of(device, act=True), inputs(device, 9)
        assert is_right(layer, x)


@pytest.mark.bug("B-32")
def test_a_layer_without_data_is_refused_when_it_is_called():
    with pytest.raises(ValueError, match="on a CPU or a CUDA device"):
        layer_of("meta")(inputs("meta", 3))
