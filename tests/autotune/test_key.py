"""Which calls a tuner tells apart, what it refuses, and when it holds its lock."""

import types

import pytest
import torch
from triton.errors import TritonError

from kernels.custom_autotune import timing as autotune_timing
from kernels.custom_autotune.key import TuningKey
from kernels.custom_autotune.store import identity_of
from tests.autotune.stub import Stub, benchmarks, call, configs_of, tuner_of

NAMES = ("x", "M", "flag", "BLOCK")
pytestmark = pytest.mark.usefixtures("benchmarks")
__all__ = ["benchmarks"]


def parameter(name, is_constexpr=False, do_not_specialize=False):
    given = {"is_constexpr": is_constexpr, "do_not_specialize": do_not_specialize}
    return types.SimpleNamespace(name=name, **given)


def key_of(names=(), rounds=False):
    """A key of a kernel that Triton compiles anew for some values of M, and of no other integer."""
    params = [
        parameter("x"), parameter("M"), parameter("flag", do_not_specialize=True),
        parameter("BLOCK", is_constexpr=True),
    ]  # fmt: skip
    return TuningKey(types.SimpleNamespace(params=params), NAMES, names, rounds)


def bucket(**arguments):
    return key_of().of({"x": torch.float16} | arguments)[0]


@pytest.mark.bug("AT-05")
def test_integers_that_are_compiled_anew_for_are_told_apart():
    """1, multiples of 16 and the rest."""
    one, some, sixteen, none, more = (bucket(M=value) for value in (1, 3, 16, 0, 17))
    assert len({one, some, sixteen}) == 3
    assert (none, more) == (sixteen, some)


@pytest.mark.parametrize("name", ["flag", "BLOCK"])
def test_integers_that_are_not_compiled_anew_for_share_a_bucket(name):
    assert bucket(**{name: 1}) == bucket(**{name: 3}) == bucket(**{name: 16})


def test_what_is_no_integer_has_no_class():
    assert bucket(M=0.5) == bucket(M=None) == bucket(M=True)


@pytest.mark.bug("L-31")
def test_a_key_argument_below_one_cannot_be_rounded_up():
    key = key_of(("M",), rounds=True)
    assert [key.of({"M": value})[0][0] for value in (1, 2, 3, "n")] == [(1,), (2,), (4,), ("n",)]
    for value in (0, -1):
        with pytest.raises(ValueError, match=f"M is {value}; to round it up"):
            key.of({"M": value})


def test_every_name_can_be_given_by_position_and_no_argument_more():
    assert key_of().named((1, 2, 3, 4), {}) == dict(zip(NAMES, (1, 2, 3, 4), strict=True))
    with pytest.raises(TypeError, match="5 positional arguments for 4 names"):
        key_of().named((1, 2, 3, 4, 5), {})
    with pytest.raises(TypeError, match=r"\['M'\] were given by position and by keyword"):
        key_of().named((1, 2), {"M": 2})


@pytest.mark.bug("L-42")
def test_a_config_cannot_set_what_came_by_position():
    tuner = tuner_of(Stub(), configs_of(16))
    with pytest.raises(ValueError, match=r"\['BLOCK'\] come from the config"):
        tuner[(1,)](torch.ones(2), None, 1, 1, 1, 4, 16)


def test_a_tuning_that_cannot_compile_says_why():
    class Failing(Stub):
        def run(self, *args, **kwargs):
            raise TritonError("shared memory is short")

    with pytest.raises(RuntimeError, match=r"no config compiles: .*shared memory is short"):
        tuner_of(Failing(), configs_of(16)).warmup(x=torch.ones(2), M=1, N=1, K=1)


SHAPE = {"M": 4, "N": 8, "K": 8}
CHANGES = {
    "clear": lambda tuner: tuner.clear(),
    "warmup": lambda tuner: tuner.warmup(x=torch.ones(2), **SHAPE),
    "another choice": lambda tuner: tuner._choose_again(
        (), (), (), {"grid": (1,)}, {"x": torch.ones(2), **SHAPE}
    ),
}


class Lock:
    """Tells whether it is held."""

    held = False

    def __enter__(self):
        self.held = True

    def __exit__(self, *error):
        self.held = False


@pytest.mark.bug("AT-10")
@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_the_winners_holds_the_lock(change):
    """Another thread may be choosing one."""
    tuner, seen = tuner_of(Stub(), configs_of(16, 32)), []
    call(tuner)
    tuner._lock = Lock()
    tuner._winners = Watched(tuner._winners, lambda: seen.append(tuner._lock.held))
    CHANGES[change](tuner)
    assert seen
    assert all(seen)


class Watched(dict):
    """A dictionary that tells when it is changed."""

    def __init__(self, values, tell):
        super().__init__(values)
        self._tell = tell

    def clear(self):
        self._tell()
        super().clear()

    def setdefault(self, key, value):
        self._tell()
        return super().setdefault(key, value)

    def pop(self, *arguments):
        self._tell()
        return super().pop(*arguments)

    def __setitem__(self, key, value):
        self._tell()
        super().__setitem__(key, value)


@pytest.mark.bug("AT-13")
def test_what_is_kept_names_the_kind_of_device():
    kernel = types.SimpleNamespace(cache_key="source")
    kinds = [
        identity_of(kernel, ((), (), device), configs_of(16))["device"]
        for device in (None, torch.device("cpu"), torch.device("meta"))
    ]
    assert kinds == ["None", "cpu", "meta"]


def test_a_long_tuning_tells_which_config_it_is_at(monkeypatch, capsys):
    monkeypatch.setattr(autotune_timing, "SILENT_SECONDS", 0.0)
    call(tuner_of(Stub(), configs_of(16, 32)))
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(" (")[0] for line in told] == [
        "kernel: tuning, config 1 of 2", "kernel: tuning, config 2 of 2",
    ]  # fmt: skip


def test_a_winner_that_does_not_run_is_gone_even_if_no_other_is_found():
    def prune(configs, nargs):
        if nargs["M"] == 0:
            raise ValueError("no rows")
        return configs

    tuner = tuner_of(Stub(), configs_of(16), prune_configs_by={"early_config_prune": prune})
    call(tuner)
    (key,) = tuner.cache
    with pytest.raises(ValueError, match="no rows"):
        tuner._choose_again(key, (), (), {}, {"M": 0})
    assert key not in tuner.cache
