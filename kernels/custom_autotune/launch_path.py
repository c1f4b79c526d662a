"""A short way to launch: the config and the compiled kernel of a call with the same arguments.

To find the kernel of a launch takes a tuner and Triton longer on the host than the launch itself:
they look at the types and alignments of all arguments. Here a dictionary does, keyed by the values:
every integer, float and string as it is, every tensor by dtype, alignment and device. So at least
what they take for two calls is two calls here.
"""

from typing import NamedTuple

import torch
import triton
from triton import knobs
from triton.compiler import CompiledKernel
from triton.runtime import driver

LIMIT = 4096  # calls remembered; a server sees a few batch sizes for each of its layers
PLAIN = frozenset({float, bool, str, type(None), torch.dtype})


class LaunchPath(NamedTuple):
    """A config, what was compiled from it where that can be launched, and the arguments it adds.

    `added` holds what stands behind the positional arguments in a launch: the options of the
    config and defaults; None where some come by keyword.
    """

    config: triton.Config
    meta: dict
    added: tuple | None
    kernel: CompiledKernel | None
    device: int | None


class LaunchPaths:
    """LaunchPaths by the arguments of a call; none of them refers to a tensor."""

    def __init__(self, fn, arg_names, defaults):
        self._arg_names, self._defaults = arg_names, defaults
        self._paths = {}
        # Decorators between tuner and kernel, and the interpreter, do more than launch.
        self._jit = fn if type(fn) is triton.JITFunction else None

    def clear(self):
        self._paths.clear()

    def find(self, args, kwargs):
        """(signature, path): equal for calls that the same config and kernel serve; path or None.

        The signature holds integers as they are, tensors by what a launch depends on, and other
        values with their type: True is not 1, nor is 1.0.
        """
        values = (*args, *kwargs.values()) if kwargs else args
        cells = [
            v if v.__class__ is int else
            (v.dtype, v.data_ptr() % 16, v.get_device()) if isinstance(v, torch.Tensor) else
            (v.__class__, v)
            for v in values
        ]  # fmt: skip
        signature = (tuple(cells), tuple(kwargs), self._jit and _state_of_triton())
        if self._jit is not None and self._jit.pre_run_hooks:
            return signature, None
        try:
            return signature, self._paths.get(signature)
        except TypeError:  # an argument that cannot be hashed; `remember` took none such
            return signature, None

    def remember(self, signature, kernel, config, meta):
        """`kernel` is what a launch with these arguments and `config` returned."""
        values, by_name, state = signature
        if not all(map(_is_plain, values)):
            return
        # Kernels for AMD also depend on the size of a tensor.
        direct = type(kernel) is CompiledKernel and kernel.metadata.target.backend == "cuda"
        given = {**self._defaults, **meta}
        behind = self._arg_names[len(values) :]
        added = None
        if not by_name and given.keys() >= set(behind):
            added = tuple(given[name] for name in behind)
        if len(self._paths) >= LIMIT:
            self._paths.clear()
        usable = (kernel, state[0]) if self._jit and direct else (None, None)
        self._paths[signature] = LaunchPath(config, meta, added, *usable)

    def arguments(self, path, args, kwargs):
        """All arguments of the launch by name, in order."""
        if path.added is not None:
            return dict(zip(self._arg_names, args + path.added))  # noqa: B905 - remember() counted
        given = dict(zip(self._arg_names, args, strict=False))
        given = {**self._defaults, **given, **kwargs, **path.meta}
        return {name: given[name] for name in self._arg_names if name in given}

    def launch(self, path, grid, arguments):
        """Launch on the current stream, as Triton itself does once it has found the kernel."""
        if callable(grid):
            grid = grid(arguments)
        x, y, z = grid if len(grid) == 3 else (*grid, 1, 1)[:3]
        kernel, values = path.kernel, arguments.values()
        stream = driver.active.get_current_stream(path.device)
        enter, leave = hooks_around()
        metadata = kernel.launch_metadata(grid, stream, *values) if enter is not None else None
        function, packed = kernel.function, kernel.packed_metadata
        kernel.run(x, y, z, stream, function, packed, metadata, enter, leave, *values)
        return kernel


def hooks_around():
    """What is called before and after a launch; None for a chain of no hooks."""
    runtime = knobs.runtime
    return _or_none(runtime.launch_enter_hook), _or_none(runtime.launch_exit_hook)


def _or_none(hook):
    """None for a chain of no hooks, which would only cost time."""
    return hook if getattr(hook, "calls", hook) else None


def _is_plain(value):
    """Whether values that are equal to this one in a signature are the same to a kernel."""
    if value.__class__ is int or len(value) == 3:
        return True
    kind, value = value  # 0.0 equals -0.0 but is compiled anew; other objects may change
    return kind in PLAIN and not (kind is float and value == 0)


def _state_of_triton():
    """The current device, and the settings that Triton compiles anew for."""
    return (
        driver.active.get_current_device(),
        knobs.runtime.debug,
        knobs.compilation.instrumentation_mode,
        knobs.runtime.add_stages_inspection_hook,
    )
