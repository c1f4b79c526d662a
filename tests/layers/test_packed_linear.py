"""What both layers over packed weights promise: construction, ranks, strides, state, casts."""

import contextlib
import copy
import io
import pickle

import pytest
import torch
from torch import Tensor

from kernels.exllama.linear import ExllamaQuantLinear
from kernels.quant_linear import QuantLinear
from tests.layers.small import (
    GROUP_SIZE,
    LAZY,
    NAMES,
    WRONG_WEIGHTS,
    K,
    N,
    changed,
    expected,
    inputs,
    is_right,
    operands,
)

pytestmark = pytest.mark.turns(2)

KINDS = {QuantLinear: "first_config", ExllamaQuantLinear: "fresh"}  # and what a test of it needs


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request):
    request.getfixturevalue(KINDS[request.param])
    return request.param


@pytest.mark.bug("L-71 LY-03 LY-04 L-10 L-64 DT-04")
@pytest.mark.parametrize("act", [False, True])
@pytest.mark.parametrize(
    "leading", [(), (3,), (2, 3), (2, 1, 3), (0,), (2, 0), (7,), (8,), (65,)], ids=str
)
def test_inputs_of_any_rank_are_multiplied(kind, act, leading, device):
    layer, x = kind(**operands(device, act=act)), inputs(device, *leading)
    out = layer(x)
    assert out.shape == (*leading, N)
    assert torch.equal(out, expected(layer, x))


VIEWS = (
    lambda x: x.transpose(0, 1),
    lambda x: x[:, ::2],
    lambda x: x[::2, 1:],
    lambda x: x[:1].expand(4, -1, -1),
    lambda x: x.transpose(0, 2).contiguous().transpose(0, 2),
    lambda x: x.flatten()[1 : 1 + 3 * K].view(3, K),  # B-16: an odd storage offset
)


@pytest.mark.bug("L-58 L-71 LY-01 L-02 B-16")
@pytest.mark.parametrize("view", VIEWS)
def test_strided_inputs_are_as_good_as_contiguous_ones(kind, view, device):
    layer, x = kind(**operands(device, act=True)), view(inputs(device, 4, 5))
    assert torch.equal(layer(x), expected(layer, x.contiguous()))


@pytest.mark.parametrize("name", ["x", *NAMES, "bias"])
@pytest.mark.parametrize(("lazy", "plain"), LAZY)
def test_values_that_torch_has_not_written_out_are_multiplied(kind, lazy, plain, name, device):
    def result(change):
        given = operands(device, act=True) | {"x": inputs(device, 3)}
        given[name] = change(given[name])
        x = given.pop("x")
        return kind(**given)(x)

    assert torch.equal(result(lazy), result(plain))


WRONG_OPERANDS = WRONG_WEIGHTS | {
    "group-size-zero": (ValueError, changed("groupsize", lambda size: 0)),
    "group-size-none": (TypeError, changed("groupsize", lambda size: None)),
    "group-size-48": (ValueError, lambda operands: operands | {"g_idx": None, "groupsize": 48}),
    "bias-long": (ValueError, changed("bias", lambda bias: torch.ones(N + 1))),
    "bias-integer": (TypeError, changed("bias", Tensor.int)),
    "bias-meta": (ValueError, changed("bias", lambda bias: bias.to("meta"))),
}
WRONG_FOR_ONE = {
    "bits-8": (ValueError, QuantLinear, changed("bits", lambda bits: 8)),  # needs more words
    "exllama-bits-8": (NotImplementedError, ExllamaQuantLinear, changed("bits", lambda bits: 8)),
    "exllama-bits-2": (NotImplementedError, ExllamaQuantLinear, changed("bits", lambda bits: 2)),
    "exllama-scales-float": (TypeError, ExllamaQuantLinear, changed("scales", Tensor.float)),
    "exllama-scales-bfloat16": (TypeError, ExllamaQuantLinear, changed("scales", Tensor.bfloat16)),
}


@pytest.mark.bug("L-26 L-23 GI-01 GI-12 L-07 L-74 L-78 L-53 L-70")
@pytest.mark.parametrize("name", [*WRONG_OPERANDS, *WRONG_FOR_ONE])
def test_operands_that_do_not_fit_are_refused_at_construction(name):
    """An exception, not an assertion, and at once."""
    error, *layers, change = (WRONG_OPERANDS | WRONG_FOR_ONE)[name]
    for layer in layers or KINDS:
        with pytest.raises(error):
            layer(**change(operands()))


@pytest.mark.bug("GI-03 L-19 L-26 L-75 B-05")
@pytest.mark.parametrize("group_size", [-1, GROUP_SIZE, 24, K])
def test_without_g_idx_groups_follow_each_other(kind, group_size, device):
    """One group, and a partial last one."""
    size = K if group_size == -1 else group_size
    G = -(-K // size)
    narrow = operands(device, group_size=K // G) | {"groupsize": group_size, "g_idx": None}
    narrow |= {name: narrow[name][:G] for name in ("qzeros", "scales")}
    layer = kind(**narrow)
    assert layer.groupsize == size
    assert layer.g_idx.tolist() == [row // size for row in range(K)]
    assert is_right(layer, inputs(device, 3))


@pytest.mark.bug("L-69 GI-02")
def test_zeros_in_g_idx_are_group_zero(kind, device):
    layer = kind(**operands(device, g_idx=torch.zeros(K, device=device).int()))
    assert is_right(layer, inputs(device, 3))


@pytest.mark.bug("L-68 B-30 L-20")
def test_state_survives_every_way_of_copying(kind, device):
    layer, x = kind(**operands(device, act=True)), inputs(device, 9)
    out, saved = layer(x), io.BytesIO()
    torch.save(layer.state_dict(), saved)
    saved.seek(0)
    loaded = kind(**operands(device, seed=5))
    loaded(x)
    loaded.load_state_dict(torch.load(saved, weights_only=True))
    for twin in (loaded, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), layer.to("cpu")):
        assert torch.equal(twin.to(device)(x), out)


def checkpoint(**changes):
    """Of a layer with one group, the first of a model."""
    given = operands(**{"seed": 5, "group_size": K} | changes)
    return {f"0.{name}": value for name, value in given.items() if isinstance(value, Tensor)}


def of_one_group(layer):
    return torch.nn.Sequential(layer(**operands(group_size=K)))


REFUSED_STATES = {  # what is wrong -> words that name the key, and how it comes about
    "g_idx": (r"0\.g_idx must lie", changed("0.g_idx", lambda g: g + 1)),
    "g_idx-int64": (r"0\.g_idx must be torch\.int32", changed("0.g_idx", Tensor.long)),
    "qweight-int64": (r"0\.qweight must be torch\.int32", changed("0.qweight", Tensor.long)),
    "qweight-float": (r"0\.qweight must be torch\.int32", changed("0.qweight", Tensor.float)),
    "qzeros-int16": (r"0\.qzeros must be torch\.int32", changed("0.qzeros", Tensor.short)),
    "scales-integer": (r"0\.scales must be torch\.float16", changed("0.scales", Tensor.int)),
    "scales-large": (r"0\.scales must fit", changed("0.scales", lambda s: s.float() * 2**20)),
    "scales-small": (r"0\.scales must fit", changed("0.scales", lambda s: s.bfloat16() / 2**30)),
    "bias-integer": (r"0\.bias must be torch\.float16", changed("0.bias", Tensor.int)),
    "bias-large": (r"0\.bias must fit", changed("0.bias", lambda b: b.double() * 1e5)),
    "bias-short": (r"size mismatch for 0\.bias", changed("0.bias", lambda b: b[1:])),
    "bias-list": (r'"0\.bias", expected torch\.Tensor', changed("0.bias", Tensor.tolist)),
    "bias-meta": (r'"0\.bias".* meta tensor', changed("0.bias", lambda b: b.to("meta"))),
    "grouped": (
        r"(?s)size mismatch for 0\.qzeros.* for 0\.scales",
        lambda state: checkpoint(group_size=GROUP_SIZE),
    ),
}


@pytest.mark.bug("GI-01 L-23")
@pytest.mark.parametrize("layer", KINDS)
@pytest.mark.parametrize("name", REFUSED_STATES)
def test_a_checkpoint_is_refused_by_the_key_and_no_part_of_it_loaded(name, layer):
    words, change = REFUSED_STATES[name]
    model = of_one_group(layer)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match=words):
        model.load_state_dict(change(checkpoint()))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("layer", KINDS)
def test_what_is_refused_comes_after_the_keys_that_torch_misses(layer):
    state = changed("0.qweight", Tensor.long)(checkpoint())
    state["0.q_perm"] = state.pop("0.g_idx")
    words = r"(?s)Missing key.*0\.g_idx.*Unexpected key.*0\.q_perm.*0\.qweight must be"
    with pytest.raises(RuntimeError, match=words):
        of_one_group(layer).load_state_dict(state)


@pytest.mark.parametrize("layer", KINDS)
def test_a_tensor_that_is_assigned_has_a_dtype_of_the_layers(layer):
    """No float64, which a copy would round; other scales than float16 as at construction."""
    words = r"0\.scales must be torch\.float16.* not torch\.float64"
    with pytest.raises(RuntimeError, match=words):
        of_one_group(layer).load_state_dict(
            changed("0.scales", Tensor.double)(checkpoint()), assign=True
        )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_scales_and_bias_of_another_dtype_are_rounded_to_the_layers(kind, dtype, device):
    state = {
        key: value.to(dtype) if value.dtype == torch.float16 else value
        for key, value in checkpoint(device=device).items()
    }
    model = torch.nn.Sequential(kind(**operands(device, group_size=K)))
    model.load_state_dict(state)
    assert model[0].scales.dtype == torch.float16
    twin = kind(**operands(device, group_size=K, seed=5))
    assert torch.equal(model(inputs(device, 3)), twin(inputs(device, 3)))


@pytest.mark.parametrize("layer", KINDS)
def test_a_hook_that_renames_keys_runs_once_and_before_they_are_judged(layer):
    renamed = []

    def rename(module, state, prefix, *others):
        renamed.append(prefix)
        state[f"{prefix}g_idx"] = state.pop(f"{prefix}perm")

    for change, words in ((Tensor.clone, ""), (lambda g: g + 1, r"0\.g_idx must lie")):
        model, state = of_one_group(layer), checkpoint()
        model[0].register_load_state_dict_pre_hook(rename)
        state["0.perm"] = change(state.pop("0.g_idx"))
        with pytest.raises(RuntimeError, match=words) if words else contextlib.nullcontext():
            model.load_state_dict(state)
    assert renamed == ["0.", "0."]


@pytest.mark.parametrize("layer", KINDS)
def test_parts_of_a_checkpoint_come_one_after_the_other(layer):
    model, state = of_one_group(layer), checkpoint()
    for key, value in state.items():
        model.load_state_dict({key: value}, strict=False)
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())


@pytest.mark.bug("B-22 L-66 L-68")
@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.qweight.neg_(),
        lambda layer: setattr(layer, "qweight", layer.qweight.neg()),
        lambda layer: setattr(layer.qweight, "data", layer.qweight.neg()),
        lambda layer: layer.scales.mul_(2),
        lambda layer: layer.g_idx.copy_(layer.g_idx.flip(0)),
        lambda layer: layer.bias.neg_(),
    ],
    ids=["written", "replaced", "data", "scales", "g_idx", "bias"],
)
def test_changed_weights_are_noticed(kind, change, device):
    layer, x = kind(**operands(device, act=True)), inputs(device, 3)
    layer(x)
    change(layer)
    assert is_right(layer, x)


@pytest.mark.bug("L-27 DT-03")
@pytest.mark.parametrize("cast", ["half", "float", "bfloat16"])
def test_casts_of_the_module_change_neither_values_nor_the_dtype_of_the_output(kind, cast, device):
    """Scales and bias here are exact in all three."""
    layer, x = kind(**operands(device)), inputs(device, 3)
    out = layer(x)
    assert out.dtype == torch.float16
    assert torch.equal(getattr(layer, cast)()(x), out)


@pytest.mark.bug("L-08 DT-01 L-71")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32])
def test_other_inputs_are_refused_outside_autocast(kind, dtype, device):
    with pytest.raises(TypeError, match="x must be"):
        kind(**operands(device))(inputs(device, 3, dtype=dtype))


@pytest.mark.bug("L-62 BF-07")
def test_the_callers_tensors_are_not_written(kind, device):
    """Twice from the same tensors gives the same."""
    given = operands(device, act=True)
    before = copy.deepcopy(given)
    x = inputs(device, 9)
    assert torch.equal(kind(**given)(x), kind(**given)(x))
    assert all(torch.equal(tensor, before[name]) for name, tensor in given.items()
               if isinstance(tensor, torch.Tensor))  # fmt: skip


@pytest.mark.bug("B-32")
def test_inference_mode_works(kind, device):
    """Also for a layer that is created there."""
    with torch.inference_mode():
        assert is_right(kind(**operands(device, act=True)), inputs(device, 9))
