"""On a CPU: what Triton kernels of others ask of a GPU when they are imported and launched.

Never for kernels of ours. Each stand-in is listed in docs/adapters.md.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import sys
from types import SimpleNamespace

CAPABILITY = (9, 0)
PROPERTIES = {
    "name": "CPU",
    "major": CAPABILITY[0],
    "minor": CAPABILITY[1],
    "multi_processor_count": 2,
    "total_memory": 2**34,
    "warp_size": 32,
    "max_threads_per_multi_processor": 2048,
    "regs_per_multiprocessor": 65536,
    "shared_memory_per_block": 48 * 1024,
    "shared_memory_per_block_optin": 227 * 1024,
    "shared_memory_per_multiprocessor": 228 * 1024,
}


def stand_in_for_a_gpu() -> None:
    """Where Triton is interpreted: torch's questions answered now, Triton's once it is imported."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        _stand_in()


@functools.cache  # once in a process
def _stand_in() -> None:
    import torch

    cuda = torch.cuda
    cuda.get_device_capability = lambda device=None: CAPABILITY
    cuda.get_device_properties = lambda device=None: SimpleNamespace(**PROPERTIES)
    cuda.get_device_name = lambda device=None: PROPERTIES["name"]
    cuda.current_device = lambda: 0
    cuda.device = lambda device=None: contextlib.nullcontext()
    cuda.synchronize = lambda device=None: None
    if "triton" in sys.modules:
        _stand_in_for_a_driver()
    else:
        sys.meta_path.insert(0, _Imported())


class _Imported:
    """Waits for `import triton`: a kernel without it does not pay for it."""

    def find_spec(self, name, path=None, target=None):
        if name != "triton":
            return None
        sys.meta_path.remove(self)
        found = importlib.util.find_spec(name)
        if found is not None:
            execute = found.loader.exec_module

            def and_more(module):
                execute(module)
                _stand_in_for_a_driver()

            found.loader.exec_module = and_more
        return found


class _Driver:
    """A target to ask for; nothing can be launched."""

    def __init__(self, target):
        shared = {"max_shared_mem": PROPERTIES["shared_memory_per_block_optin"]}
        shared |= {"multiprocessor_count": PROPERTIES["multi_processor_count"]}
        self.utils = SimpleNamespace(get_device_properties=lambda device: shared)
        self.get_current_target = lambda: target
        self.get_current_device = lambda: 0
        self.set_current_device = lambda device: None
        self.get_current_stream = lambda device=None: 0


def _stand_in_for_a_driver() -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.runtime import interpreter

    from gptq_fuzz.worker import drawn_times

    target = GPUTarget("cuda", 10 * CAPABILITY[0] + CAPABILITY[1], PROPERTIES["warp_size"])
    triton.runtime.driver.set_active(_Driver(target))
    drawn_times.install()
    converted, patched = interpreter._implicit_cvt, interpreter._patch_lang_core

    def steps(*bounds, **_hints):
        return map(converted, range(*map(int, bounds)))

    def with_ranges(lang, scope):
        patched(lang, scope)
        scope.set_attr(lang, "range", steps)

    # True and False are numbers of one bit to a compiler, and no numbers of 32 to the interpreter;
    # what `tl.range` counts is a tensor.
    interpreter._implicit_cvt = lambda arg: converted(int(arg) if isinstance(arg, bool) else arg)
    interpreter._patch_lang_core = with_ranges
