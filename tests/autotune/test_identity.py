"""What a tuning result on disk is told by: nothing else takes it for its own."""

import types

import pytest
import torch
import triton

from kernels.custom_autotune.key import TuningKey
from kernels.custom_autotune.store import Store, identity_of
from tests.autotune.stub import configs_of


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def identity(source="source", name="kernel", x=None, m=8, k=16, configs=None, device=None):
    """Of a kernel with one tensor and two integers, one of which is no key."""
    params = [types.SimpleNamespace(name=n, is_constexpr=False, do_not_specialize=False)
              for n in "xmk"]  # fmt: skip
    fn = types.SimpleNamespace(cache_key=source, __name__=name, params=params)
    x = torch.ones(2) if x is None else x
    (rounded, classes, place), _ = TuningKey(fn, "xmk", "m", rounds=True).of(
        {"x": x, "m": m, "k": k}
    )
    return identity_of(
        fn, (rounded, classes, device or place), configs or configs_of(16, 32, pre_hook=print)
    )


H200 = torch.device("cuda", 0)
CHANGES = {
    "source": {"source": "other"},
    "kernel": {"name": "other"},
    "key": {"m": 40},  # of the same class as 8
    "class of an integer": {"k": 17},
    "dtype": {"x": torch.ones(2, dtype=torch.float16)},
    "alignment": {"x": torch.ones(3)[1:]},
    "configs": {"configs": configs_of(16, 64, pre_hook=print)},
    "order of configs": {"configs": configs_of(32, 16, pre_hook=print)},
    "number of configs": {"configs": configs_of(16, 32, 64, pre_hook=print)},
    "stages": {"configs": configs_of(16, 32, num_stages=5, pre_hook=print)},
    "registers": {"configs": configs_of(16, 32, maxnreg=64, pre_hook=print)},
    "hook": {"configs": configs_of(16, 32, pre_hook=repr)},
    "no hook": {"configs": configs_of(16, 32)},
    "device": {"device": H200},
}


@pytest.mark.bug("AT-10 AT-13 L-30")
@pytest.mark.parametrize("what", CHANGES)
def test_a_result_is_not_taken_for_anything_else(store, gpus, what):
    """Another file, so nothing is even told of."""
    store.save(identity(), 1, [2.0, 1.0])
    assert store.load(identity()) == 1
    assert store.load(identity(**CHANGES[what])) is None


@pytest.mark.bug("AT-13")
@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        (torch, "__version__", "0.0"),
        (triton, "__version__", "0.0"),
        (torch.cuda, "get_device_name", lambda device: "another model"),
        (torch.cuda, "get_device_capability", lambda device: (10, 0)),
    ],
    ids=["torch", "triton", "device", "capability"],
)
def test_a_result_is_not_taken_elsewhere(store, gpus, monkeypatch, owner, name, value):
    store.save(identity(device=H200), 1, [2.0, 1.0])
    monkeypatch.setattr(owner, name, value)
    assert store.load(identity(device=H200)) is None


@pytest.fixture
def gpus(monkeypatch):
    """Two of one model."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))


def test_gpus_of_one_model_and_shapes_of_one_bucket_share_a_result(store, gpus):
    store.save(identity(device=H200), 1, [2.0, 1.0])
    assert store.load(identity(device=torch.device("cuda", 1))) == 1
    assert store.load(identity(device=H200, m=7)) == 1
    assert store.load(identity(device=H200, m=16)) is None
    assert store.load(identity(device=H200, k=32)) == 1
