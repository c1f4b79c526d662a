"""Prunes block sizes that a shape does not need."""

import copy
import itertools
import operator

MIN_BLOCK = 16  # the smallest side tl.dot takes
BLOCKS = {"BLOCK_SIZE_M": "M", "BLOCK_SIZE_N": "N", "BLOCK_SIZE_K": "K"}


def matmul248_kernel_config_pruner(configs, nargs):
    """The configs with blocks no larger than M, N and K need, each one once, in order (generator).

    A block shrinks to the next power of two of its dimension and not below 16; the kernel masks
    the rest. All other fields of a config stay.
    """
    needed = {
        block: max(MIN_BLOCK, power_of_two_above(_dim(nargs, dim))) for block, dim in BLOCKS.items()
    }
    configs = list(configs)
    for config, block in itertools.product(configs, BLOCKS):
        if config.kwargs.get(block, MIN_BLOCK) < MIN_BLOCK:
            raise ValueError(f"{block} is {config.kwargs[block]}, tl.dot needs {MIN_BLOCK}")
    return _shrunk(configs, needed)


def _shrunk(configs, needed):
    seen = []
    for config in configs:
        smaller = copy.copy(config)  # keeps the fields that only newer versions of triton have
        smaller.kwargs = {
            name: min(value, needed[name]) if name in needed else value
            for name, value in config.kwargs.items()
        }
        if vars(smaller) not in seen:
            seen.append(vars(smaller))
            yield smaller


def _dim(nargs, name):
    if name not in nargs:
        raise ValueError(f"the pruner needs {name}, the arguments are {sorted(nargs)}")
    value = nargs[name]
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} is an integer, not {value!r}")
    if operator.index(value) < 1:
        raise ValueError(f"{name} is at least 1, not {value}")
    return operator.index(value)


def power_of_two_above(value):
    """The smallest power of two that is not below value; exact for integers of any size."""
    return 1 << (value - 1).bit_length()
