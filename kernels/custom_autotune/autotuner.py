"""Autotuner for Triton kernels: prunes configs, times them briefly, keeps a winner per key."""

import functools
import threading
from types import MappingProxyType
from typing import NamedTuple

import torch
import triton
from triton.errors import TritonError
from triton.runtime.errors import OutOfResources

from .. import checks
from .key import TuningKey, innermost, required
from .launch_path import LaunchPaths
from .scratch import Scratch
from .store import Store, fields_of, identity_of
from .timing import Progress, compiling_ahead, measure

_LOCK = threading.RLock()  # of all tuners: two benchmarks at a time would disturb each other


class Winner(NamedTuple):
    """A config, and the fields of all configs that it was chosen from."""

    config: triton.Config
    among: list


class Call(NamedTuple):
    """A call of the kernel. It refers to tensors, so nothing keeps it."""

    args: tuple
    kwargs: dict  # the grid and other launch options among them
    named: dict  # the kernel's own arguments by name
    bucket: tuple = ()  # what the tuning key rounds them to
    exact: tuple = ()  # values of the key arguments


class Autotuner(triton.KernelInterface):
    """Launches `fn` with the best of `configs` for the arguments named in `key`.

    The key of a winner is a `TuningKey`'s bucket. A winner serves another shape of its bucket only
    if pruning leaves the same configs for both, so that the order of calls does not matter. What
    was timed is kept on disk too (`store`), for other processes. Timing launches on copies of the
    tensors, unless `restore_value` is empty (`autotune`). Where `timed` is False the first
    config that pruning keeps is taken: in Triton's interpreter, and wherever a caller sets it since
    timings mean nothing.
    """

    def __init__(
        self, fn, arg_names, configs, key, reset_to_zero,
        prune_configs_by=None, nearest_power_of_two=False, *, restore_value=None,
    ):  # fmt: skip
        self.fn = fn
        self.arg_names = tuple(arg_names)
        self.configs = tuple(configs or [triton.Config({})])
        self.key = self._known_names("key", key)
        self.reset_to_zero = self._known_names("reset_to_zero", reset_to_zero or ())
        self.restore_value = restore_value
        if restore_value is not None:
            self.restore_value = self._known_names("restore_value", restore_value)
        self.nearest_power_of_two = nearest_power_of_two
        self._read_pruning(dict(prune_configs_by or {}))
        self.base_fn = innermost(fn)
        self.interpreted = type(self.base_fn).__name__ == "InterpretedFunction"
        self.timed = not self.interpreted
        self.store = Store()
        self._keys = TuningKey(self.base_fn, self.arg_names, self.key, nearest_power_of_two)
        self._needed = required(fn)
        self._winners = {}  # bucket -> {exact values of the key arguments: Winner}
        self._paths = LaunchPaths(fn, self.arg_names, self._keys.defaults)
        self._lock = _LOCK

    @property
    def cache(self):
        """{bucket: {exact key values: Winner}}, to look at; `clear()` empties it."""
        return MappingProxyType(self._winners)

    def clear(self):
        """Forget every winner of this process. Files stay."""
        with self._lock:
            self._winners.clear()
            self._paths.clear()

    def __getitem__(self, grid):
        """`kernel[grid](*args, **kwargs)` launches, as Triton's own does, with less in between."""
        return functools.partial(self.run, grid=grid)

    def run(self, *args, grid, warmup=False, **kwargs):
        """Launch with the winner for these arguments, found first if there is none yet."""
        if warmup:
            return self.warmup(*args, grid=grid, **kwargs)
        signature, path = self._paths.find(args, kwargs)
        if path is None:
            return self._first_launch(signature, args, kwargs, grid)
        arguments = self._paths.arguments(path, args, kwargs)
        if self.reset_to_zero or path.config.pre_hook is not None:
            self._prepare(path.config, path.meta, arguments)
        if path.kernel is not None:
            return self._paths.launch(path, grid, arguments)
        try:
            return self.fn.run(*args, grid=grid, warmup=False, **kwargs, **path.meta)
        except OutOfResources:
            return self._first_launch(signature, args, kwargs, grid)

    def _first_launch(self, signature, args, kwargs, grid):
        """Launch with the winner; keep the way to it for calls with the same arguments."""
        call = self._keyed(args, {**kwargs, "grid": grid})
        config = self._choose(call)
        try:
            kernel = self._launch(config, call)
        except OutOfResources:
            # Strides are not in the key and can change what a config needs.
            if len(self.configs) == 1 or checks.is_capturing():
                raise
            config = self._choose_again(call)
            kernel = self._launch(config, call)
        self._paths.remember(signature, kernel, config, self._meta(config, call))
        return kernel

    def compiled(self, *args):
        """(kernel, all arguments) of a launch that has been made with such arguments.

        None where there is none, or where more has to be done than to launch it.
        """
        _, path = self._paths.find(args, {})
        if path is None or path.kernel is None or path.added is None:
            return None
        if self.reset_to_zero or path.config.pre_hook is not None:
            return None
        return path.kernel, args + path.added

    def launch(self, config, *args, **kwargs):
        """Launch with this config: nothing is pruned, timed or remembered."""
        return self._launch(config, self._call(args, kwargs))

    def warmup(self, *args, **kwargs):
        """Compile every config that pruning keeps, without timing; later runs find a config.

        Arguments may be tensors or, as for a plain kernel, dtypes. Where nothing was tuned before,
        here or by a process that kept its winner, the first config that compiles is taken.
        """
        call = self._keyed(args, {"grid": (1,), **kwargs})
        with self._lock:
            compiled, usable, failures = [], [], []
            configs = self.prune_configs(call.named)
            for config in configs:
                try:
                    compiled.append(self._compile(config, call))
                    usable.append(config)
                except TritonError as error:
                    failures.append(f"{type(error).__name__}: {error}")
            if not usable:
                raise RuntimeError(_failures("no config compiles", configs, failures))
            winners = self._winners.setdefault(call.bucket, {})
            if call.exact not in winners:
                kept = self._kept(configs, self._identity(configs, call))
                runs = kept is not None and kept in usable
                chosen = kept if runs else usable[0]
                winners[call.exact] = Winner(chosen, list(map(fields_of, configs)))
        return compiled

    def prune_configs(self, nargs):
        """The configs worth timing for these named arguments, in order; at least one."""
        configs, arguments = list(self.configs), {**self._keys.defaults, **nargs}
        if self.early_config_prune is not None:
            configs = list(self.early_config_prune(configs, dict(arguments)))
            if not configs:
                raise ValueError("early_config_prune left no config, at least one is needed")
        if self.perf_model is not None:
            configs.sort(key=lambda c: self.perf_model(**{**arguments, **c.all_kwargs()}))
        if isinstance(self.top_k, float):
            return configs[: max(1, int(len(configs) * self.top_k))]
        return configs[: self.top_k]

    def _bench(self, *args, config, **meta):
        """Median, 20 % and 80 % quantile in ms; infinity for a config that cannot run."""
        meta.pop("warmup", None)
        call, scratch = self._on_scratch(self._call(args, meta))
        return measure(lambda: self._launch(config, call), scratch).milliseconds

    def _call(self, args, kwargs):
        return Call(args, kwargs, self._keys.named(args, kwargs))

    def _keyed(self, args, kwargs):
        """With what the winners are found by."""
        call = self._call(args, kwargs)
        bucket, exact = self._keys.of(call.named)
        return call._replace(bucket=bucket, exact=exact)

    def _choose(self, call):
        winner = self._winners.get(call.bucket, {}).get(call.exact)
        if winner is not None:
            return winner.config
        with self._lock:
            winners = self._winners.get(call.bucket, {})
            if call.exact in winners:
                return winners[call.exact].config
            configs = self.prune_configs(call.named)
            among = list(map(fields_of, configs))
            winner = next((won for won in winners.values() if won.among == among), None)
            if winner is None:
                winner = Winner(self._best(configs, call), among)
            self._winners.setdefault(call.bucket, {})[call.exact] = winner
            return winner.config

    def _choose_again(self, call):
        """The winner turned out not to run with these arguments: time all of them anew."""
        with self._lock:
            self._winners.pop(call.bucket, None)
            configs = self.prune_configs(call.named)
            config = self._best(configs, call, kept=False)
            self._winners[call.bucket] = {call.exact: Winner(config, list(map(fields_of, configs)))}
            return config

    def _best(self, configs, call, kept=True):
        """The config to take: the only one, the one kept on disk, or the fastest."""
        if len(configs) == 1 or not self.timed:
            return configs[0]
        identity = self._identity(configs, call)
        winner = self._kept(configs, identity) if kept else None
        if winner is not None:
            return winner
        timings = self._tune(configs, call)
        medians = [timing.milliseconds[0] for timing in timings]
        position = medians.index(min(medians))
        # What failed for want of memory may be the fastest for another process.
        if identity and not any(timing.may_pass for timing in timings):
            self.store.save(identity, position, medians)
        return configs[position]

    def _identity(self, configs, call):
        """What a file about these configs holds for; None where there is nothing to time."""
        if len(configs) == 1 or not self.timed or not hasattr(self.base_fn, "cache_key"):
            return None
        return identity_of(self.base_fn, call.bucket, configs)

    def _kept(self, configs, identity):
        """The one of these configs that an earlier process found to be the fastest, or None."""
        position = self.store.load(identity) if identity else None
        return None if position is None else configs[position]

    def _tune(self, configs, call):
        """The Timing of each config; RuntimeError if none of them runs."""
        checks.require_no_capture(
            "no config is known for these arguments: timing needs synchronisation, so call the "
            "kernel once"
        )
        progress = Progress(getattr(self.base_fn, "__name__", "kernel"), configs)
        timings, (timed, scratch) = [], self._on_scratch(call)
        with compiling_ahead(lambda c: self._compile(c, call), configs):
            for position, config in enumerate(configs):
                progress.timing(position, config)
                timings.append(measure(lambda c=config: self._launch(c, timed), scratch))
        if all(timing.reason for timing in timings):
            reasons = [timing.reason for timing in timings]
            kind = torch.cuda.OutOfMemoryError if any(t.may_pass for t in timings) else RuntimeError
            raise kind(_failures("no config runs", configs, reasons))
        return timings

    def _on_scratch(self, call):
        """The call on copies of its tensors, and the Scratch that they are of.

        Launches that are timed then neither change what the caller has, nor, where they change
        what they read, what the next one reads. `restore_value=()` says that no launch does.
        """
        if self.restore_value == ():
            return call, None
        try:
            scratch = Scratch(call.named, self.restore_value)
        except torch.cuda.OutOfMemoryError as error:
            raise type(error)(
                f"no memory for copies of the arguments while timing (restore_value=() goes "
                f"without, if the kernel reads nothing that it writes): {error}"
            ) from None
        return call._replace(
            args=tuple(map(scratch.of, call.args)),
            kwargs={name: scratch.of(value) for name, value in call.kwargs.items()},
            named={name: scratch.of(value) for name, value in call.named.items()},
        ), scratch

    def _launch(self, config, call):
        meta = self._meta(config, call)
        self._prepare(config, meta, {**self._keys.defaults, **call.named})
        return self.fn.run(*call.args, warmup=False, **call.kwargs, **meta)

    def _prepare(self, config, meta, arguments):
        """What comes before every launch, timed or not: tensors reset, the config's hook."""
        for name in self.reset_to_zero:
            if arguments.get(name) is not None:
                arguments[name].zero_()
        if config.pre_hook is not None:
            config.pre_hook({**arguments, **meta})

    def _compile(self, config, call):
        meta = self._meta(config, call)
        if hasattr(self.fn, "warmup"):
            return self.fn.warmup(*call.args, **call.kwargs, **meta)
        return self.fn.run(*call.args, warmup=True, **call.kwargs, **meta)

    def _meta(self, config, call):
        """The launch options of a config. With the call they give every argument, each once."""
        meta = config.all_kwargs()
        twice = meta.keys() & (call.named.keys() | call.kwargs.keys())
        if twice:
            raise ValueError(f"{sorted(twice)} come from the config and cannot be arguments too")
        missing = [n for n in self._needed if n not in meta and n not in call.named]
        if missing:
            raise TypeError(f"neither the call nor the config ({config}) gives {missing}")
        return meta

    def _known_names(self, what, names):
        unknown = [name for name in names if name not in self.arg_names]
        if unknown:
            raise ValueError(f"{what} names {unknown}, the kernel has {list(self.arg_names)}")
        return tuple(names)

    def _read_pruning(self, options):
        self.early_config_prune = options.pop("early_config_prune", None)
        self.perf_model = options.pop("perf_model", None)
        self.top_k = top_k = options.pop("top_k", None)
        if options:
            raise ValueError(f"prune_configs_by does not know {sorted(options)}")
        if top_k is None:
            return
        if isinstance(top_k, bool) or not isinstance(top_k, (int, float)):
            raise TypeError(f"top_k is a count or a share of the configs, not {top_k!r}")
        if top_k <= 0 or (isinstance(top_k, float) and not top_k <= 1):
            raise ValueError(f"top_k is an int of at least 1 or a float in (0, 1], not {top_k}")


def autotune(
    configs, key, prune_configs_by=None, reset_to_zero=None, nearest_power_of_two=False,
    *, restore_value=None,
):  # fmt: skip
    """Decorator: wrap a `triton.jit` function in an Autotuner.

    `prune_configs_by` holds any of `early_config_prune(configs, nargs)`, `perf_model(**arguments)`
    (smaller is better) and `top_k` (a count, or a share as a float). The tensors named in
    `reset_to_zero` are zeroed before every launch, timed or not. Configs are timed on copies of all
    tensors; those named in `restore_value` get their values back before every timed launch, by
    default all if a second launch leaves other bytes than the first. With `()` nothing is copied:
    that is for kernels which read nothing that they write.
    """

    def decorator(fn):
        return Autotuner(
            fn, fn.arg_names, configs, key, reset_to_zero, prune_configs_by, nearest_power_of_two,
            restore_value=restore_value,
        )  # fmt: skip

    return decorator


def _failures(what, configs, reasons):
    """A line for each config."""
    lines = [f"{config}: {reason}" for config, reason in zip(configs, reasons, strict=True)]
    return "\n  ".join([f"{what}:", *lines])
