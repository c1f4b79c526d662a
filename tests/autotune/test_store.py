"""Winners on disk: whole files only, shared by processes, each taken for what it holds alone."""

import os
import resource
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import triton

from kernels.custom_autotune.key import TuningKey
from kernels.custom_autotune.store import (
    COMPILING,
    FOLDER,
    Store,
    default_folder,
    identity_of,
)
from tests.autotune.stub import KeptStub, call, configs_of, tuner_of

pytestmark = pytest.mark.usefixtures("benchmarks")
IDENTITY = {"kernel": "some_kernel", "configs": ["first", "second"], "key": ["8"]}
FOREIGN = {**IDENTITY, "key": ["16"]}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "not" / "there" / "yet")


def file_of(store, identity=IDENTITY, winner=1):
    """The one file of a store, which holds the winner of `identity`."""
    store.save(identity, winner, [2.0, 1.0])
    (path,) = store.folder.iterdir()
    return path


def kept_tuner(store, behaviour=None, source="source", **options):
    tuner = tuner_of(KeptStub(behaviour, source), configs_of(16, 32, **options))
    tuner.store = store
    return tuner


def test_a_winner_comes_back_under_its_own_identity_only(store):
    assert store.load(IDENTITY) is None
    store.save(IDENTITY, 1, [2.0, float("inf")])
    assert store.load(IDENTITY) == 1
    assert store.load(FOREIGN) is None


def test_an_ignored_file_is_named(store):
    path = file_of(store)
    path.write_text("")
    with pytest.warns(RuntimeWarning, match=f"ignored the tuning result {path}"):
        assert store.load(IDENTITY) is None


def test_others_may_read_a_file_where_the_umask_lets_them(store):
    before = os.umask(0o022)
    try:
        path = file_of(store)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("crash", "outcome"),
    [
        (OSError("a stale handle"), pytest.warns(RuntimeWarning, match="could not keep")),
        (KeyboardInterrupt(), pytest.raises(KeyboardInterrupt)),
    ],
    ids=["error", "interrupt"],
)
def test_a_crash_before_the_replacement_leaves_the_old_file_alone(
    store, monkeypatch, crash, outcome
):
    path = file_of(store)
    monkeypatch.setattr(os, "replace", raising(crash))
    with outcome:
        store.save(IDENTITY, 0, [1.0, 2.0])
    assert list(store.folder.iterdir()) == [path]
    assert store.load(IDENTITY) == 1


def raising(error):
    def raise_it(*args, **kwargs):
        raise error

    return raise_it


def test_a_full_disk_leaves_the_old_file_alone(store):
    path = file_of(store)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))  # bytes of a file: writes fail after them
    try:
        with pytest.warns(RuntimeWarning, match="could not keep"):
            store.save(IDENTITY, 0, [1.0, 2.0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(store.folder.iterdir()) == [path]
    assert store.load(IDENTITY) == 1


def test_writers_and_readers_at_once_meet_whole_files_only(store):
    """A warning is an error here, so a reader that meets half a file fails."""
    path = file_of(store)

    def write_and_read(winner):
        for _ in range(100):
            store.save(IDENTITY, winner, [2.0, 1.0])
            assert store.load(IDENTITY) in (0, 1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write_and_read, (0, 1, 0, 1)))
    assert list(store.folder.iterdir()) == [path]


@pytest.mark.parametrize("place", ["kept", "kept/deeper"])
def test_a_folder_that_cannot_be_written_is_reported_and_the_call_works(tmp_path, place):
    """A file in its place, which stops root too."""
    (tmp_path / "kept").write_text("not a folder")
    tuner = kept_tuner(Store(tmp_path / place), {16: 2.0})
    with pytest.warns(RuntimeWarning) as warned:
        call(tuner)
    assert tuner.fn.blocks[-1] == 32
    assert sum("could not keep" in str(warning.message) for warning in warned) == 1
    call(tuner)  # known now: no warning, which would be an error


@pytest.mark.bug("AT-12 AT-13")
def test_another_process_tunes_nothing_and_takes_its_own_config(store, benchmarks):
    """The config object of that tuner, hook included."""
    ran = []
    call(kept_tuner(store, {16: 2.0}, pre_hook=lambda nargs: None))
    second = kept_tuner(store, pre_hook=lambda nargs: ran.append(nargs["BLOCK"]))
    call(second)
    assert (second.fn.blocks, ran, len(benchmarks)) == ([32], [32], 2)
    ((winner,),) = (winners.values() for winners in second.cache.values())
    assert winner.config is second.configs[1]


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({FOLDER: "/some/where"}, "/some/where"),
        ({FOLDER: "~/winners"}, "/home/me/winners"),
        ({FOLDER: "0"}, None),
        ({FOLDER: ""}, None),
        ({FOLDER: "0", "XDG_CACHE_HOME": "/cache"}, None),
        ({"XDG_CACHE_HOME": "/cache"}, "/cache/gptq_fuzz/autotune"),
        ({"XDG_CACHE_HOME": ""}, "/home/me/.cache/gptq_fuzz/autotune"),
        ({}, "/home/me/.cache/gptq_fuzz/autotune"),
    ],
)
def test_the_environment_chooses_where_winners_are_kept(monkeypatch, environment, folder):
    for name in (FOLDER, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **environment}.items():
        monkeypatch.setenv(name, value)
    assert Store().folder == default_folder() == (folder and Path(folder))


def test_the_environment_is_asked_at_each_use(monkeypatch, tmp_path, benchmarks):
    tuner = tuner_of(KeptStub(), configs_of(16, 32))
    for place, files, timed in (("0", 0, 2), (str(tmp_path), 1, 4), (str(tmp_path), 1, 4)):
        monkeypatch.setenv(FOLDER, place)
        tuner.clear()
        call(tuner)
        assert (len(list(tmp_path.iterdir())), len(benchmarks)) == (files, timed)


@pytest.mark.bug("AT-12")
def test_configs_that_differ_in_hooks_of_one_name_are_told_apart(tmp_path):
    hooks = [lambda nargs, i=i: None for i in range(2)]
    configs = [triton.Config({"BLOCK": 16}, pre_hook=hook) for hook in hooks]
    identity = identity_of(KeptStub(), ((), (), None), configs)
    Store(tmp_path).save(identity, 1, [2.0, 1.0])
    assert Store(tmp_path).load(identity) == 1


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
    """Another file, so there is not even a warning."""
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


@pytest.mark.bug("AT-13")
@pytest.mark.parametrize("name", [*COMPILING, "DISABLE_PTXAS_OPT", "TRITON_F32_DEFAULT"])
def test_a_result_is_not_taken_where_the_environment_gives_other_binaries(store, monkeypatch, name):
    monkeypatch.delenv(name, raising=False)
    store.save(identity(), 1, [2.0, 1.0])
    monkeypatch.setenv(name, "1")
    assert store.load(identity()) is None
    monkeypatch.delenv(name)
    monkeypatch.setenv("TRITON_CACHE_DIR", "elsewhere")
    assert store.load(identity()) == 1


def test_want_of_memory_is_not_kept_as_a_fact(store):
    """Another process times the config that had none; this one goes on with what runs."""
    error = RuntimeError("Triton Error [CUDA]: out of memory")
    tuner = kept_tuner(store, {16: error, 32: 2.0})
    for _ in range(2):
        call(tuner)
        assert tuner.fn.blocks[-1] == 32
    assert not store.folder.exists()
    again = kept_tuner(store, {32: 2.0})
    call(again)
    assert again.fn.blocks[-1] == 16
    assert len(list(store.folder.iterdir())) == 1


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


@pytest.mark.bug("AT-13")
def test_what_is_kept_names_the_kind_of_device():
    kernel = types.SimpleNamespace(cache_key="source")
    kinds = [
        identity_of(kernel, ((), (), device), configs_of(16))["device"]
        for device in (None, torch.device("cpu"), torch.device("meta"))
    ]
    assert kinds == ["None", "cpu", "meta"]
