"""Callers of the original change an import and nothing else: names, order and defaults."""

import inspect
from inspect import Parameter

from kernels.custom_autotune import Autotuner, autotune

OPTIONS = {"prune_configs_by": None, "nearest_power_of_two": False}


def parameters_of(function):
    """Name -> default, in order."""
    return {name: p.default for name, p in inspect.signature(function).parameters.items()}


def test_the_decorator_is_called_as_the_originals():
    needed = dict.fromkeys(("configs", "key"), Parameter.empty)
    found = parameters_of(autotune)
    assert found == needed | OPTIONS | {"reset_to_zero": None}
    assert list(found) == [*needed, "prune_configs_by", "reset_to_zero", "nearest_power_of_two"]


def test_the_class_is_called_as_the_originals():
    names = ("fn", "arg_names", "configs", "key", "reset_to_zero")
    found = parameters_of(Autotuner)
    assert found == dict.fromkeys(names, Parameter.empty) | OPTIONS
    assert list(found) == [*names, *OPTIONS]
