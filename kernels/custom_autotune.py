"""Autotuner for Triton kernels: prunes configs, times them briefly, keeps a winner per key."""

import inspect
import math
import operator
import threading
from typing import NamedTuple

import torch
import triton
import triton.testing
from triton.errors import TritonError
from triton.runtime.errors import OutOfResources

from .config_pruner import matmul248_kernel_config_pruner, power_of_two_above

__all__ = ["Autotuner", "autotune", "matmul248_kernel_config_pruner"]

REPETITION_MS = 40  # triton's default of 100 only makes tuning longer, not better
QUANTILES = (0.5, 0.2, 0.8)


class Winner(NamedTuple):
    """A config, and the fields of all configs that it was chosen from."""

    config: triton.Config
    among: list


class Autotuner(triton.KernelInterface):
    """Launches `fn` with the best of `configs` for the arguments named in `key`.

    The key of a winner holds the values of the `key` arguments (rounded up to powers of two where
    `nearest_power_of_two`), the dtype of every tensor and the device. A winner serves another
    shape of its bucket only if pruning leaves the same configs for both, so that the order of
    calls does not matter. Where `timed` is False the first config that pruning keeps is taken: in
    Triton's interpreter, and wherever a caller says that timings mean nothing.
    """

    def __init__(
        self, fn, arg_names, configs, key, reset_to_zero,
        prune_configs_by=None, nearest_power_of_two=False,
    ):  # fmt: skip
        self.fn = fn
        self.arg_names = tuple(arg_names)
        self.configs = tuple(configs or [triton.Config({})])
        self.key = self._known_names("key", key)
        self.reset_to_zero = self._known_names("reset_to_zero", reset_to_zero or ())
        self.nearest_power_of_two = nearest_power_of_two
        self._read_pruning(dict(prune_configs_by or {}))
        self.base_fn = _innermost(fn)
        self.interpreted = type(self.base_fn).__name__ == "InterpretedFunction"
        self.timed = not self.interpreted
        self.defaults = _defaults(self.base_fn)
        self.cache = {}  # key -> {exact values of the key arguments: Winner}
        self._lock = threading.RLock()  # two benchmarks at a time would disturb each other

    def run(self, *args, **kwargs):
        """Launch with the winner for these arguments, found first if there is none yet."""
        if kwargs.pop("warmup", False):
            return self.warmup(*args, **kwargs)
        nargs = self._named(args, kwargs)
        key, exact = self._keys(nargs)
        try:
            return self._launch(self._choose(key, exact, args, kwargs, nargs), args, kwargs, nargs)
        except OutOfResources:
            # Alignment and strides are not in the key and can change what a config needs.
            if len(self.configs) == 1 or _capturing():
                raise
        with self._lock:
            self.cache.pop(key, None)
        return self._launch(self._choose(key, exact, args, kwargs, nargs), args, kwargs, nargs)

    def launch(self, config, *args, **kwargs):
        """Launch with this config: nothing is pruned, timed or remembered."""
        return self._launch(config, args, kwargs, self._named(args, kwargs))

    def warmup(self, *args, **kwargs):
        """Compile every config that pruning keeps, without timing; later runs find a config.

        Arguments may be tensors or, as for a plain kernel, dtypes. Where nothing was tuned before,
        the first config that compiles is the one kept.
        """
        kwargs.setdefault("grid", (1,))
        nargs = self._named(args, kwargs)
        key, exact = self._keys(nargs)
        with self._lock:
            compiled, usable, failures = [], [], []
            configs = self.prune_configs(nargs)
            for config in configs:
                try:
                    compiled.append(self._compile(config, args, kwargs, nargs))
                    usable.append(config)
                except TritonError as error:
                    failures.append(f"{config}: {error!r}")
            if not usable:
                raise RuntimeError(f"no config compiles: {failures}")
            winner = Winner(usable[0], [vars(config) for config in configs])
            self.cache.setdefault(key, {}).setdefault(exact, winner)
        return compiled

    def prune_configs(self, nargs):
        """The configs worth timing for these named arguments, in order; at least one."""
        configs, arguments = list(self.configs), {**self.defaults, **nargs}
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
        return self._attempt(config, args, meta, self._named(args, meta))[0]

    def _attempt(self, config, args, kwargs, nargs):
        """Timings of one config, and why there are none (a text: errors would hold tensors)."""

        def call():
            self._launch(config, args, kwargs, nargs)

        try:
            timings = triton.testing.do_bench(call, rep=REPETITION_MS, quantiles=QUANTILES)
        except (TritonError, RuntimeError) as error:
            return (math.inf,) * len(QUANTILES), f"{config}: {error!r}"
        return tuple(timings), ""

    def _choose(self, key, exact, args, kwargs, nargs):
        winner = self.cache.get(key, {}).get(exact)
        if winner is not None:
            return winner.config
        with self._lock:
            winners = self.cache.get(key, {})
            if exact in winners:
                return winners[exact].config
            configs = self.prune_configs(nargs)
            among = [vars(config) for config in configs]
            winner = next((won for won in winners.values() if won.among == among), None)
            if winner is None:
                winner = Winner(self._tune(configs, args, kwargs, nargs), among)
            self.cache.setdefault(key, {})[exact] = winner
            return winner.config

    def _tune(self, configs, args, kwargs, nargs):
        if len(configs) == 1 or not self.timed:
            return configs[0]
        if _capturing():
            raise RuntimeError(
                "a CUDA graph is being captured and no config is known for these arguments: "
                "timing needs synchronisation, so call the kernel once before the capture"
            )
        results = [self._attempt(config, args, kwargs, nargs) for config in configs]
        best = min(range(len(configs)), key=lambda i: results[i][0])
        if math.isinf(results[best][0][0]):
            raise RuntimeError(f"no config runs: {[why for _, why in results]}")
        return configs[best]

    def _launch(self, config, args, kwargs, nargs):
        meta = _meta(config, kwargs, nargs)
        for name in self.reset_to_zero:
            if nargs.get(name) is not None:
                nargs[name].zero_()
        if config.pre_hook is not None:
            config.pre_hook({**self.defaults, **nargs, **meta})
        return self.fn.run(*args, warmup=False, **kwargs, **meta)

    def _compile(self, config, args, kwargs, nargs):
        meta = _meta(config, kwargs, nargs)
        if hasattr(self.fn, "warmup"):
            return self.fn.warmup(*args, **kwargs, **meta)
        return self.fn.run(*args, warmup=True, **kwargs, **meta)

    def _named(self, args, kwargs):
        """The kernel's own arguments by name, without launch options such as grid."""
        if len(args) > len(self.arg_names):
            raise TypeError(f"{len(args)} positional arguments for {len(self.arg_names)} names")
        nargs = dict(zip(self.arg_names, args, strict=False))
        twice = nargs.keys() & kwargs.keys()
        if twice:
            raise TypeError(f"{sorted(twice)} were given by position and by keyword")
        nargs.update((name, kwargs[name]) for name in self.arg_names if name in kwargs)
        return nargs

    def _keys(self, nargs):
        """The bucket and the exact values of the key arguments; neither refers to a tensor."""
        arguments = {**self.defaults, **nargs}
        missing = [name for name in self.key if name not in arguments]
        if missing:
            raise TypeError(f"the tuning key needs the arguments {missing}")
        exact = tuple(_dtype(arguments[name]) or arguments[name] for name in self.key)
        rounded = tuple(map(_round_up, exact)) if self.nearest_power_of_two else exact
        dtypes = tuple(_dtype(nargs.get(name)) for name in self.arg_names)
        return (rounded, dtypes, _device(nargs)), exact

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


def autotune(configs, key, prune_configs_by=None, reset_to_zero=None, nearest_power_of_two=False):
    """Decorator: wrap a `triton.jit` function in an Autotuner.

    `prune_configs_by` holds any of `early_config_prune(configs, nargs)`, `perf_model(**arguments)`
    (smaller is better) and `top_k` (a count, or a share as a float). The tensors named in
    `reset_to_zero` are zeroed before every launch, timed or not.
    """

    def decorator(fn):
        return Autotuner(
            fn, fn.arg_names, configs, key, reset_to_zero, prune_configs_by, nearest_power_of_two
        )

    return decorator


def _round_up(value):
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return value
    return power_of_two_above(operator.index(value)) if operator.index(value) > 0 else value


def _dtype(value):
    """dtype of a tensor (or of the dtype that stands for one in a warmup), None for the rest."""
    if isinstance(value, torch.dtype):
        return value
    return value.dtype if hasattr(value, "data_ptr") else None


def _device(nargs):
    for value in nargs.values():
        if isinstance(value, torch.Tensor):
            return value.device
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return None


def _meta(config, kwargs, nargs):
    """The launch options of a config, none of which may be an argument of the call too."""
    meta = config.all_kwargs()
    twice = meta.keys() & (nargs.keys() | kwargs.keys())
    if twice:
        raise ValueError(f"{sorted(twice)} come from the config and cannot be arguments too")
    return meta


def _innermost(fn):
    while isinstance(getattr(fn, "fn", None), triton.KernelInterface):
        fn = fn.fn
    return fn


def _defaults(fn):
    function = getattr(fn, "fn", None)
    if not inspect.isfunction(function):
        return {}
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _capturing():
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
