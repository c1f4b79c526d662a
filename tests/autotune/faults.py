"""Faults to put into the autotuner on purpose: what each replaces, and a line that shows it.

A fault is a list of (owner, name, replacement), as `unittest.mock.patch.object` takes them.
"""

from __future__ import annotations

import contextlib
import json
import threading
from types import SimpleNamespace
from typing import NamedTuple
from unittest import mock

import torch
import triton

from kernels.custom_autotune import autotuner as custom_autotune
from kernels.custom_autotune import config_pruner
from kernels.custom_autotune import key as autotune_key
from kernels.custom_autotune import store as autotune_store
from kernels.custom_autotune import timing as autotune_timing
from kernels.custom_autotune.autotuner import Autotuner, Winner
from kernels.custom_autotune.key import TuningKey
from kernels.custom_autotune.launch_path import LaunchPaths
from kernels.custom_autotune.store import Store
from tests.autotune.world import FakeTensor

KEY_OF, CLASS_OF, NAMED = TuningKey.of, TuningKey._class_of, TuningKey.named
ROUND_UP, IDENTITY_OF = autotune_key._round_up, autotune_store.identity_of
PREPARE, BEST, LOAD = Autotuner._prepare, Autotuner._best, Store.load
FIND, MEASURE = LaunchPaths.find, autotune_timing.measure
TIMING = threading.local()


class Fault(NamedTuple):
    """What it replaces, steps that show it, and words of what they end in."""

    patches: list
    line: str
    words: str


def key_without_bits(self, nargs):
    (rounded, *rest), exact = KEY_OF(self, nargs)
    return (rounded[:-1], *rest), exact[:-1]


def class_of_a_tensor(keep):
    """(dtype, alignment) of a tensor, cut to a slice."""

    def class_of(self, name, value):
        found = CLASS_OF(self, name, value)
        return found[keep] if isinstance(found, tuple) else found

    return class_of


def class_of_tensors_only(self, name, value):
    found = CLASS_OF(self, name, value)
    return found if isinstance(found, tuple) else None


def round_up_from_zero(name, value):
    return ROUND_UP(name, max(1, value))


def measure_and_say_so(call):
    TIMING.on = True
    try:
        return MEASURE(call)
    finally:
        TIMING.on = False


def measure_unguarded(call):
    return triton.testing.do_bench(call, quantiles=(0.5,)), ""


def without(config, *names):
    """A config rebuilt by hand, where somebody forgot some of its fields."""
    given = {name: value for name, value in vars(config).items() if name not in names}
    return triton.Config(**given)


def prepare_without_hook_when_known(self, config, meta, arguments):
    timing = getattr(TIMING, "on", False)
    PREPARE(self, config if timing else without(config, "pre_hook"), meta, arguments)


def prepare_without_zero_when_known(self, config, meta, arguments):
    if getattr(TIMING, "on", False):
        PREPARE(self, config, meta, arguments)
    elif config.pre_hook is not None:
        config.pre_hook({**arguments, **meta})


def prepare_for_the_latest(self, config, meta, arguments):
    PREPARE(self, config, meta, {**self._keys.defaults, **self._keys.latest})


def named_and_kept(self, args, kwargs):
    self.latest = NAMED(self, args, kwargs)
    return self.latest


def best_without_hook_from_disk(self, configs, key, *call, **kept):
    milliseconds = []
    self._tune = lambda *tuned: milliseconds.extend(type(self)._tune(self, *tuned)) or milliseconds
    best = BEST(self, configs, key, *call, **kept)
    del self._tune
    return best if milliseconds else without(best, "pre_hook")


def best_from_disk_again(self, *call, kept=True):
    return BEST(self, *call)


def forgetful_pruner(*names):
    shrunk = config_pruner._shrunk
    return lambda configs, needed: (without(config, *names) for config in shrunk(configs, needed))


def load_of_anybody(self, identity):
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        kept = json.loads(self._path(identity).read_text())
        return identity["configs"].index(kept["winner"])
    return LOAD(self, identity)


def load_any_winner(self, identity):
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        kept = json.loads(self._path(identity).read_text())
        if kept["identity"] == identity and kept["winner"] not in identity["configs"]:
            return 0
    return LOAD(self, identity)


def load_unguarded(self, identity):
    path = self._path(identity)
    return LOAD(self, json.loads(path.read_text())["identity"] if path.exists() else identity)


def identity_without(*names):
    def identity_of(*given):
        return {**IDENTITY_OF(*given), **dict.fromkeys(names)}

    return identity_of


def find_as_if(**same):
    """Tensors are told apart as if their dtype or alignment were the same."""

    def twin(value):
        if not isinstance(value, torch.Tensor):
            return value
        kind = {"dtype": value.dtype, "first": int(value.data_ptr() % 16 > 0), **same}
        return FakeTensor.make(device=value.device.index, **kind)

    def find(self, args, kwargs):
        kwargs = {name: twin(value) for name, value in kwargs.items()}
        return FIND(self, tuple(map(twin, args)), kwargs)

    return find


def find_without_hook(self, args, kwargs):
    signature, path = FIND(self, args, kwargs)
    return signature, path and path._replace(config=without(path.config, "pre_hook"))


def find_without_registers(self, args, kwargs):
    signature, path = FIND(self, args, kwargs)
    meta = path and {name: path.meta[name] for name in path.meta if name != "maxnreg"}
    return signature, path and path._replace(meta=meta)


def suppress_nothing(*errors):
    return contextlib.nullcontext()


class Nothing(Exception):
    """Raised by nobody."""


SAYS_TIMING = (custom_autotune, "measure", measure_and_say_so)
A, A6, B = "call.m5.n64.k64", "call.m6.n64.k64", "call.m64.n64.k64"
TIMED, HOOKS, DUE = "configs were timed", "hooks before a launch", "launched"
OOR = "raised OutOfResources"
FAULTS = {
    "key without bits": Fault([(TuningKey, "of", key_without_bits)], f"{A}-{A}.b8", TIMED),
    "key without dtype": Fault(
        [(TuningKey, "_class_of", class_of_a_tensor(slice(1, 2)))], f"{A}-{A}.f32", TIMED
    ),
    "key without alignment": Fault(
        [(TuningKey, "_class_of", class_of_a_tensor(slice(0, 1)))], f"{A}-{A}.off", TIMED
    ),
    "key without classes of integers": Fault(
        [(TuningKey, "_class_of", class_of_tensors_only)],
        "call.m5.n64.k128-call.m5.n64.k100", TIMED,
    ),
    "key without device": Fault(
        [(autotune_key, "device_of", lambda nargs: torch.device("cuda", 0))], f"{A}-{A}.d2", TIMED
    ),
    "rounding lets M = 0 through": Fault(
        [(autotune_key, "_round_up", round_up_from_zero)],
        "tuner.plain-call.m0.n64.k64", "raised nothing, wanted ValueError",
    ),
    "hook skipped once the config is known": Fault(
        [SAYS_TIMING, (Autotuner, "_prepare", prepare_without_hook_when_known)], f"{B}-{B}", HOOKS
    ),
    "hook skipped on the short way": Fault(
        [(LaunchPaths, "find", find_without_hook)], f"{B}-{B}", HOOKS
    ),
    "hook lost on disk": Fault(
        [(Autotuner, "_best", best_without_hook_from_disk)], f"{B}-{B}.p1", HOOKS
    ),
    "zeroed only while tuning": Fault(
        [SAYS_TIMING, (Autotuner, "_prepare", prepare_without_zero_when_known)], f"{A}", "out held"
    ),
    **{
        f"pruner drops {name}": Fault(
            [(config_pruner, "_shrunk", forgetful_pruner(name))], line, words
        )
        for name, line, words in (
            ("num_stages", B, DUE), ("maxnreg", A, DUE), ("pre_hook", B, HOOKS)
        )
    },
    "options lost on the short way": Fault(
        [(LaunchPaths, "find", find_without_registers)], f"tuner.pruned.wrapped-{A}-{A}", DUE
    ),
    "no lock": Fault(
        [(custom_autotune, "_LOCK", contextlib.nullcontext())],
        f"threads.{A[5:]}_{B[5:]}", "at the same time",
    ),
    "arguments shared by threads": Fault(
        [(TuningKey, "named", named_and_kept), (Autotuner, "_prepare", prepare_for_the_latest)],
        f"threads.{A[5:]}_{B[5:]}", "saw",
    ),
    "tensors kept": Fault([(TuningKey, "named", named_and_kept)], A, "alive after the call"),
    "foreign file trusted": Fault(
        [(Store, "load", load_of_anybody)], f"{A}-{A}.b8-damage.swap.{A[5:]}-{A}.p1", "wanted 1"
    ),
    "any winner trusted": Fault(
        [(Store, "load", load_any_winner)], f"{A}-damage.nobody.{A[5:]}-{A}.p1", "wanted 1"
    ),
    "damaged file ends the call": Fault(
        [(Store, "load", load_unguarded)], f"{A}-damage.half.{A[5:]}-{A}.p1", "raised JSON"
    ),
    **{
        f"identity without {name}": Fault(
            [(custom_autotune, "identity_of", identity_without(*names))], line, "wanted 3"
        )
        for name, names, line in (
            ("triton's version", ["triton"], f"{A}-restart.1.triton-{A}.p1"),
            ("torch's version", ["torch"], f"{A}-restart.1.torch-{A}.p1"),
            ("the kernel's source", ["source"], f"{A}-restart.1.source-{A}.p1"),
            ("key values", ["key"], f"{A}-{A}.b8"),
            ("dtypes", ["classes"], f"{A}-{A}.f32"),
            ("device", ["device", "capability"], f"{A}-{A}.d2"),
        )
    },
    "infinite winner kept": Fault(
        [(custom_autotune, "math", SimpleNamespace(isinf=lambda value: False))],
        f"fail.all.crash-{A}", "launched",
    ),
    "winner of a shape pruned otherwise": Fault(
        [(custom_autotune, "Winner", lambda config, among: Winner(config, mock.ANY))],
        "tuner.divides-call.m64.n64.k128.b2-call.m64.n64.k96.b2", DUE,
    ),
    "alignment ignored on the short way": Fault(
        [(LaunchPaths, "find", find_as_if(first=0))], f"{A}-{A}.off", "other kinds"
    ),
    "dtype ignored on the short way": Fault(
        [(LaunchPaths, "find", find_as_if(dtype=torch.float16))], f"{A}-{A}.f32", "other kinds"
    ),
    "short way stays when cleared": Fault(
        [(LaunchPaths, "clear", lambda self: None)], f"{A}-clear.0-damage.gone.{A[5:]}-{A}", TIMED
    ),
    "timed while a graph is captured": Fault(
        [(custom_autotune, "capturing", lambda: False)], f"capture.on-{A}", "wanted RuntimeError"
    ),
    "winner that fails is loaded again": Fault(
        [(Autotuner, "_best", best_from_disk_again)], f"{A}-fail.3.oor-{A6}", OOR
    ),
    "winner that fails stays": Fault(
        [(custom_autotune, "OutOfResources", Nothing)], f"{A}-fail.3.oor-{A6}", OOR
    ),
    "a config out of resources ends the tuning": Fault(
        [(custom_autotune, "measure", measure_unguarded)], f"fail.2.oor-{A}", "raised"
    ),
    "a config that does not compile ends the tuning": Fault(
        [(autotune_timing, "contextlib", SimpleNamespace(suppress=suppress_nothing))],
        f"fail.2.compile-{A}", "raised CompilationError",
    ),
}  # fmt: skip
