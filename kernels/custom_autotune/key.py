"""What a tuned config depends on: the arguments that a tuner's key names, and the kinds of all."""

import inspect
import operator

import torch
import triton

from .config_pruner import power_of_two_above

ALIGNMENT = 16  # bytes of a pointer, or the divisor of an integer, that Triton compiles for


class TuningKey:
    """Sorts calls into buckets by their arguments, as far as these matter to a tuner.

    Calls belong to one bucket if the values named in `key` agree (rounded up to powers of two
    where `rounds`), and so do the dtype and alignment of every tensor, the class of every integer
    that Triton compiles anew for, and the device.
    """

    def __init__(self, fn, arg_names, key, rounds):
        self.arg_names = tuple(arg_names)
        self.names = tuple(key)
        self.rounds = rounds
        self.defaults = _defaults(fn)
        self._specialized = {
            param.name
            for param in getattr(fn, "params", ())
            if not (param.is_constexpr or param.do_not_specialize)
        }

    def named(self, args, kwargs):
        """The kernel's own arguments by name, without launch options such as grid."""
        if len(args) > len(self.arg_names):
            raise TypeError(f"{len(args)} positional arguments for {len(self.arg_names)} names")
        nargs = dict(zip(self.arg_names, args, strict=False))
        twice = nargs.keys() & kwargs.keys()
        if twice:
            raise TypeError(f"{sorted(twice)} were given by position and by keyword")
        nargs.update((name, kwargs[name]) for name in self.arg_names if name in kwargs)
        return nargs

    def of(self, nargs):
        """(bucket, exact values of the key arguments); neither refers to a tensor."""
        arguments = {**self.defaults, **nargs}
        missing = [name for name in self.names if name not in arguments]
        if missing:
            raise TypeError(f"the tuning key needs the arguments {missing}")
        exact = tuple(_dtype(arguments[name]) or arguments[name] for name in self.names)
        rounded = exact
        if self.rounds:
            rounded = tuple(map(_round_up, self.names, exact))
        classes = tuple(self._class_of(name, nargs.get(name)) for name in self.arg_names)
        return (rounded, classes, device_of(nargs)), exact

    def _class_of(self, name, value):
        dtype = _dtype(value)
        if dtype is not None:
            return dtype, _pointer(value) % ALIGNMENT == 0
        if name in self._specialized and _is_integer(value):
            number = operator.index(value)
            return "one" if number == 1 else number % ALIGNMENT == 0
        return None


def device_of(nargs):
    """The device of the first tensor, else the current one."""
    for value in nargs.values():
        if isinstance(value, torch.Tensor):
            return value.device
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return None


def innermost(fn):
    """The `triton.jit` function behind decorators such as `triton.heuristics`."""
    while isinstance(getattr(fn, "fn", None), triton.KernelInterface):
        fn = fn.fn
    return fn


def required(fn):
    """Names of arguments that have no default, and that no `triton.heuristics` computes."""
    computed = set()
    while isinstance(getattr(fn, "fn", None), triton.KernelInterface):
        computed |= set(getattr(fn, "values", ()))
        fn = fn.fn
    return [p.name for p in _parameters(fn) if p.default is p.empty and p.name not in computed]


def _defaults(fn):
    return {p.name: p.default for p in _parameters(fn) if p.default is not p.empty}


def _parameters(fn):
    function = getattr(fn, "fn", None)
    return inspect.signature(function).parameters.values() if inspect.isfunction(function) else ()


def _is_integer(value):
    return hasattr(value, "__index__") and not isinstance(value, (bool, torch.Tensor))


def _round_up(name, value):
    if not _is_integer(value):
        return value
    if operator.index(value) < 1:
        raise ValueError(f"{name} is {value}; to round it up, a key argument is at least 1")
    return power_of_two_above(operator.index(value))


def _dtype(value):
    """dtype of a tensor (or of the dtype that stands for one in a warmup), None for the rest."""
    if isinstance(value, torch.dtype):
        return value
    return value.dtype if hasattr(value, "data_ptr") else None


def _pointer(value):
    """Address of a tensor; a dtype stands for an aligned one, as it does in Triton."""
    return value.data_ptr() if hasattr(value, "data_ptr") else 0
