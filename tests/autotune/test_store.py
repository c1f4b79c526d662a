"""Winners on disk: whole files only, shared by processes, and no file that can do harm."""

import contextlib
import json
import os
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import triton
from triton.runtime.errors import OutOfResources

from kernels.custom_autotune.store import FOLDER, Store, default_folder, identity_of
from tests.autotune.stub import KeptStub, benchmarks, call, configs_of, tuner_of

pytestmark = pytest.mark.usefixtures("benchmarks")
__all__ = ["benchmarks"]
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


def damaged(path, **changes):
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, **changes}))


DAMAGES = {
    "empty": lambda path: path.write_text(""),
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "one byte short": lambda path: os.truncate(path, path.stat().st_size - 1),
    "not UTF-8": lambda path: path.write_bytes(b"\xff" + path.read_bytes()),
    "UTF-16": lambda path: path.write_bytes(path.read_text().encode("utf-16")),
    "zeros": lambda path: path.write_bytes(bytes(2**22)),
    "a list": lambda path: path.write_text("[]"),
    "a number": lambda path: path.write_text("1"),
    "no winner": lambda path: path.write_text(json.dumps({"identity": IDENTITY})),
    "no identity": lambda path: path.write_text(json.dumps({"winner": "first"})),
    "unknown winner": lambda path: damaged(path, winner="third"),
    "winner by number": lambda path: damaged(path, winner=0),
    "winner in a list": lambda path: damaged(path, winner=["first"]),
    "foreign": lambda path: damaged(path, identity=FOREIGN),
    "configs in another order": lambda path: damaged(
        path, identity={**IDENTITY, "configs": ["second", "first"]}
    ),
    "long number": lambda path: path.write_text("1" * 10_000),
    "nested": lambda path: path.write_text("[" * 100_000),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_file_is_ignored_with_a_warning_and_written_again(store, kind):
    path = file_of(store)
    DAMAGES[kind](path)
    with pytest.warns(RuntimeWarning, match=f"ignored the tuning result {path}"):
        assert store.load(IDENTITY) is None
    assert file_of(store, winner=0) == path
    assert store.load(IDENTITY) == 0


def test_a_folder_in_place_of_a_file_is_told_and_survived(store):
    path = file_of(store)
    path.unlink()
    path.mkdir()
    with pytest.warns(RuntimeWarning, match="ignored the tuning result"):
        assert store.load(IDENTITY) is None
    with pytest.warns(RuntimeWarning, match="could not keep the tuning result"):
        store.save(IDENTITY, 0, [1.0, 2.0])
    assert list(store.folder.iterdir()) == [path]


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
def test_a_folder_that_cannot_be_written_is_told_and_the_call_works(tmp_path, place):
    """A file in its place, which stops root too."""
    (tmp_path / "kept").write_text("not a folder")
    tuner = kept_tuner(Store(tmp_path / place), {16: 2.0})
    with pytest.warns(RuntimeWarning) as told:
        call(tuner)
    assert tuner.fn.blocks[-1] == 32
    assert sum("could not keep" in str(warning.message) for warning in told) == 1
    call(tuner)  # known now: no warning, which would be an error


@pytest.mark.parametrize("kind", ["truncated", "foreign", "unknown winner"])
def test_a_call_with_a_damaged_file_tunes_anew_and_repairs_it(store, benchmarks, kind):
    call(kept_tuner(store, {16: 2.0}))
    (path,) = store.folder.iterdir()
    DAMAGES[kind](path)
    again = kept_tuner(store, {32: 2.0})
    with pytest.warns(RuntimeWarning, match="ignored the tuning result"):
        call(again)
    assert (again.fn.blocks[-1], len(benchmarks)) == (16, 4)
    call(kept_tuner(store))
    assert len(benchmarks) == 4


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


@pytest.mark.bug("L-36")
@pytest.mark.parametrize(
    ("behaviour", "options", "files"),
    [({16: RuntimeError("no"), 32: RuntimeError("no")}, {}, 0), ({}, {"top_k": 1}, 0), ({}, {}, 1)],
    ids=["none-runs", "one-config", "two"],
)
def test_only_what_was_timed_and_runs_is_kept(store, behaviour, options, files):
    """No file says that a config wins which cannot run."""
    tuner = tuner_of(KeptStub(behaviour), configs_of(16, 32), prune_configs_by=options)
    tuner.store = store
    with contextlib.suppress(RuntimeError):
        call(tuner)
    assert len(list(store.folder.glob("*"))) == files


@pytest.mark.bug("L-30")
def test_a_replaced_winner_is_replaced_on_disk(store):
    """Else each process would find out again that it does not run."""
    tuner = kept_tuner(store, {32: 2.0})
    call(tuner)
    tuner.fn.behaviour[16] = OutOfResources(2, 1, "shared memory")
    call(tuner)
    call(second := kept_tuner(store))
    assert second.fn.blocks == [32]


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
def test_the_environment_says_where_winners_are_kept(monkeypatch, environment, folder):
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


@pytest.mark.bug("L-46")
def test_a_warmup_takes_what_an_earlier_process_found(tmp_path):
    """Not the first config for the rest of the process."""
    for _ in range(2):
        stub = KeptStub({16: 2.0, 32: 1.0})
        tuner = tuner_of(stub, configs_of(16, 32))
        tuner.store = Store(tmp_path)
        if list(tmp_path.iterdir()):
            tuner.warmup(x=torch.ones(2), M=4, N=8, K=8, grid=(1,))
        call(tuner)
    assert stub.blocks[-1] == 32
