"""Faults to put into the autotuner on purpose: what each changes, and steps that show it.

Where a text is no longer in the source, the fault has to be written anew.
"""

from __future__ import annotations

import contextlib
import inspect
import textwrap
from typing import NamedTuple

from kernels import checks
from kernels.custom_autotune import autotuner, config_pruner, key
from kernels.custom_autotune.autotuner import Autotuner
from kernels.custom_autotune.key import TuningKey
from kernels.custom_autotune.launch_path import LaunchPaths
from kernels.custom_autotune.store import Store


class Fault(NamedTuple):
    """What is patched, steps that show it, and words of what they end in."""

    patches: list  # (owner, name, replacement), as `unittest.mock.patch.object` takes them
    line: str
    words: str


def edited(owner, name, right, wrong):
    """A patch: the function with `wrong` where `right` stands in its source, once."""
    function = inspect.unwrap(getattr(owner, name))
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(right) == 1, f"{right!r} stands {source.count(right)} times in {name}"
    namespace = {}
    exec(source.replace(right, wrong), function.__globals__, namespace)
    return owner, name, namespace[name]


A, A6, B = "call.m5.n64.k64", "call.m6.n64.k64", "call.m64.n64.k64"
THREADS = f"threads.{A[5:]}_{B[5:]}"
TIMED, HOOKS, DUE = "configs were timed", "hooks before a launch", "launched"
OOR = "raised OutOfResources"
FIRST_LAUNCH = "kernel = self._launch(config, call)\n    except"
# Name of a fault -> where it is, what stands there, what stands there instead; line; words
EDITS = {
    "key without bits": (
        TuningKey, "of", "in self.names)\n    rounded", "in self.names[:-1])\n    rounded",
        f"{A}-{A}.b8", TIMED,
    ),
    "key without dtype": (
        TuningKey, "_class_of", "return dtype, ", "return None, ", f"{A}-{A}.f32", TIMED
    ),
    "key without alignment": (
        TuningKey, "_class_of", "_pointer(value) % ALIGNMENT", "0", f"{A}-{A}.off", TIMED
    ),
    "key without classes of integers": (
        TuningKey, "_class_of", '"one" if number == 1 else number % ALIGNMENT == 0', "None",
        "call.m5.n64.k128-call.m5.n64.k100", TIMED,
    ),
    "key without device": (
        TuningKey, "of", "device_of(nargs)", 'torch.device("cuda", 0)', f"{A}-{A}.d2", TIMED
    ),
    "rounding lets M = 0 through": (
        key, "_round_up", "< 1", "< 0",
        "tuner.plain-call.m0.n64.k64", "raised nothing, wanted ValueError",
    ),
    "hook skipped once the config is known": (
        Autotuner, "_first_launch", FIRST_LAUNCH,
        FIRST_LAUNCH.replace("(config", "(triton.Config(**{**vars(config), 'pre_hook': None})"),
        f"{B}-{B}", HOOKS,
    ),
    "hook skipped on the short way": (
        LaunchPaths, "remember", "LaunchPath(config,", "LaunchPath(type(config)({}),",
        f"{B}-{B}", HOOKS,
    ),
    "hook lost on disk": (
        Autotuner, "_kept", "configs[position]",
        "triton.Config(**{**vars(configs[position]), 'pre_hook': None})", f"{B}-{B}.p1", HOOKS,
    ),
    "zeroed only while tuning": (
        Autotuner, "_first_launch", FIRST_LAUNCH,
        FIRST_LAUNCH.replace(
            "self._launch(config, call)",
            "self.fn.run(*call.args, warmup=False, **call.kwargs, **self._meta(config, call))",
        ),
        A, "out held",
    ),
    **{
        f"pruner drops {name}": (
            config_pruner, "_shrunk", "        if vars(",
            f"        smaller.{name} = {default}\n        if vars(", line, words,
        )
        for name, default, line, words in (
            ("num_stages", 3, B, DUE), ("maxnreg", None, A, DUE), ("pre_hook", None, B, HOOKS)
        )
    },
    "options lost on the short way": (
        LaunchPaths, "remember", "LaunchPath(config, meta,",
        "LaunchPath(config, {**meta, 'maxnreg': None},", f"tuner.pruned.wrapped-{A}-{A}", DUE,
    ),
    "tensors kept": (
        TuningKey, "named", "return nargs", "self.latest = nargs\n    return nargs",
        A, "alive after the call",
    ),
    "foreign file trusted": (
        Store, "load", 'kept["identity"] != _plain(identity)', "False",
        f"{A}-{A}.b8-damage.swap.{A[5:]}-{A}.p1", "wanted 1",
    ),
    "any winner trusted": (
        Store, "load", 'identity["configs"].index(kept["winner"])', "0",
        f"{A}-damage.nobody.{A[5:]}-{A}.p1", "wanted 1",
    ),
    "damaged file ends the call": (
        Store, "load", "(OSError, ValueError,", "(OSError,",
        f"{A}-damage.half.{A[5:]}-{A}.p1", "raised JSON",
    ),
    **{
        f"identity without {name}": (autotuner, "identity_of", right, wrong, line, "wanted 3")
        for name, right, wrong, line in (
            ("triton's version", "triton.__version__", "0", f"{A}-restart.1.triton-{A}.p1"),
            ("torch's version", "torch.__version__", "0", f"{A}-restart.1.torch-{A}.p1"),
            ("the kernel's source", "fn.cache_key", "0", f"{A}-restart.1.source-{A}.p1"),
            ("key values", "for value in rounded", "for value in ()", f"{A}-{A}.b8"),
            ("dtypes", "for value in classes", "for value in ()", f"{A}-{A}.f32"),
            ("device", "_machine(device)", "_machine(None)", f"{A}-{A}.d2"),
            ("environment", "_environment()", "{}", f"{A}-restart.1.environment-{A}.p1"),
        )
    },
    "infinite winner kept": (
        Autotuner, "_tune", "if all(timing.reason for timing in timings)", "if False",
        f"fail.all.crash-{A}", "launched",
    ),
    "want of memory taken for a fact": (
        Autotuner, "_best", "identity and not any(timing.may_pass for timing in timings)",
        "identity", f"fail.2.oom-{A}", "wrote",
    ),
    "winner of a shape pruned otherwise": (
        Autotuner, "_choose", " if won.among == among", "",
        "tuner.divides-call.m64.n64.k128.b2-call.m64.n64.k96.b2", DUE,
    ),
    "alignment ignored on the short way": (
        LaunchPaths, "find", "v.data_ptr() % 16", "0", f"{A}-{A}.off", "other kinds"
    ),
    "dtype ignored on the short way": (
        LaunchPaths, "find", "(v.dtype,", "(0,", f"{A}-{A}.f32", "other kinds"
    ),
    "short way stays when cleared": (
        LaunchPaths, "clear", "self._paths.clear()", "pass",
        f"{A}-clear.0-damage.gone.{A[5:]}-{A}", TIMED,
    ),
    "winner that fails is loaded again": (
        Autotuner, "_choose_again", "kept=False", "kept=True", f"{A}-fail.3.oor-{A6}", OOR
    ),
    "winner that fails stays": (
        Autotuner, "_first_launch", "except OutOfResources", "except ZeroDivisionError",
        f"{A}-fail.3.oor-{A6}", OOR,
    ),
    "a config out of resources ends the tuning": (
        autotuner, "measure", "(TritonError, RuntimeError)", "ZeroDivisionError",
        f"fail.2.oor-{A}", "raised",
    ),
    "a config that does not compile ends the tuning": (
        autotuner, "compiling_ahead", "suppress(TritonError, RuntimeError)", "suppress()",
        f"fail.2.compile-{A}", "raised CompilationError",
    ),
}  # fmt: skip
FAULTS = {name: Fault([edited(*edit)], line, words) for name, (*edit, line, words) in EDITS.items()}
FAULTS |= {
    "no lock": Fault([(autotuner, "_LOCK", contextlib.nullcontext())], THREADS, "same time"),
    "arguments shared by threads": Fault(
        [
            *FAULTS["tensors kept"].patches,
            edited(Autotuner, "_launch", "**call.named}", "**self._keys.latest}"),
        ],
        THREADS, "saw",
    ),
    "timed while a graph is captured": Fault(
        [(checks, "is_capturing", lambda device=None: False)],
        f"capture.on-{A}", "wanted RuntimeError",
    ),
}  # fmt: skip
