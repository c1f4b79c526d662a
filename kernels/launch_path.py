"""A short way to launch: the config and the compiled kernel of a call with the same arguments.

To find the kernel of a launch takes a tuner and Triton longer on the host than the launch itself:
they look at the types and alignments of all arguments. Here a dictionary does, keyed by the values:
every integer, float and string as it is, every tensor by dtype, alignment and device. This tells
apart at least what they tell apart.
"""

from typing import NamedTuple

import torch
import triton
from triton import knobs
from triton.compiler import CompiledKernel
from triton.runtime import driver

LIMIT = 4096  # calls remembered; a server sees a few batch sizes for each of its layers
PLAIN = frozenset({int, bool, str, type(None), torch.dtype, torch.Tensor, torch.nn.Parameter})
FLOAT = frozenset({float})


class LaunchPath(NamedTuple):
    """A config, its launch options, and what was compiled from it, where it can be launched."""

    config: triton.Config
    meta: dict
    kernel: CompiledKernel | None


class LaunchPaths:
    """LaunchPaths by the arguments of a call; none of them refers to a tensor."""

    def __init__(self, fn, arg_names, defaults):
        self._arg_names, self._defaults = arg_names, defaults
        self._paths = {}
        # Decorators between tuner and kernel, and the interpreter, do more than launch.
        self._jit = fn if type(fn) is triton.JITFunction else None

    def clear(self):
        self._paths.clear()

    def signature(self, args, kwargs):
        """Equal for calls that the same config and kernel serve; None where that is not known."""
        if self._jit is not None and self._jit.pre_run_hooks:
            return None
        values = (*args, *kwargs.values())
        types = tuple(map(type, values))
        if not PLAIN.issuperset(types):
            if not (PLAIN | FLOAT).issuperset(types):
                return None
            values = [repr(value) if type(value) is float else value for value in values]
        return (
            types,
            tuple([_of_tensor(v) if isinstance(v, torch.Tensor) else v for v in values]),
            tuple(kwargs),
            self._jit and _state_of_triton(),
        )

    def find(self, signature):
        return self._paths.get(signature)

    def remember(self, signature, kernel, config, meta):
        """`kernel` is what a launch with these arguments and `config` returned."""
        if signature is None:
            return
        # Kernels for AMD also depend on the size of a tensor.
        direct = type(kernel) is CompiledKernel and kernel.metadata.target.backend == "cuda"
        if len(self._paths) >= LIMIT:
            self._paths.clear()
        self._paths[signature] = LaunchPath(config, meta, kernel if self._jit and direct else None)

    def launch(self, path, grid, nargs):
        """Launch on the current stream, as Triton itself does once it has found the kernel."""
        bound = {**self._defaults, **nargs, **path.meta}
        if callable(grid):
            grid = grid(bound)
        x, y, z = (*grid, 1, 1)[:3]
        values = [bound[name] for name in self._arg_names]
        stream = driver.active.get_current_stream(driver.active.get_current_device())
        kernel, hooks = path.kernel, knobs.runtime
        kernel.run(
            x, y, z, stream, kernel.function, kernel.packed_metadata,
            kernel.launch_metadata(grid, stream, *values),
            hooks.launch_enter_hook, hooks.launch_exit_hook, *values,
        )  # fmt: skip
        return kernel


def _state_of_triton():
    """The current device, and the settings that Triton compiles anew for."""
    return (
        driver.active.get_current_device(),
        knobs.runtime.debug,
        knobs.compilation.instrumentation_mode,
        knobs.runtime.add_stages_inspection_hook,
    )


def _of_tensor(tensor):
    return tensor.dtype, tensor.data_ptr() % 16, tensor.device
