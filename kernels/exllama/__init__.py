"""The five functions of the ExLlama extension, named and ordered as in the original.

Tensors on a GPU go to the CUDA build, tensors on the CPU to a build of the same kernel sources for
the CPU; each is built when it is first needed (see build.py). Both may be in use at once.
"""

import atexit

import torch

from .build import BuildFailed, CannotBuild, extension

__all__ = [
    "BuildFailed",
    "CannotBuild",
    "cleanup",
    "make_q4",
    "prepare_buffers",
    "q4_matmul",
    "set_tuning_params",
]
CPU = -1  # what make_q4 takes as the device of CPU tensors

_loaded = {}  # kind of device -> its build
_tuning = None  # what set_tuning_params was last given, for a build that is loaded later
_buffers = {}  # device -> what prepare_buffers was last given
_generation = 0  # of handles: cleanup begins another one


def set_tuning_params(matmul_recons_thd, matmul_fused_remap, matmul_no_half2):
    """Which way q4_matmul takes; the results differ by the order of float32 sums at most.

    From matmul_recons_thd rows on, weights may be written to temp_dq for cuBLAS; 0: never; -n: from
    n rows on they are, whether it pays or not. With matmul_fused_remap the kernel itself follows
    g_idx, else a pass of its own sorts the columns of x into temp_state. matmul_no_half2
    dequantises codes one by one, not in pairs.
    """
    global _tuning
    given = (matmul_recons_thd, matmul_fused_remap, matmul_no_half2)
    for build in _loaded.values() or [_build("cuda" if torch.cuda.is_available() else "cpu")]:
        build.set_tuning_params(*given)
    _tuning = given


def prepare_buffers(device, temp_state, temp_dq):
    """Scratch memory of a device: temp_state for x in another order, temp_dq for weights."""
    device = torch.device(device)
    _build(device.type).prepare_buffers(device, temp_state, temp_dq)
    _buffers[temp_dq.device] = (temp_state, temp_dq)


def make_q4(qweight, qzeros, scales, g_idx, device):
    """A handle for 4-bit weights on GPU `device`, or on the CPU where that is -1.

    qweight [K / 8, N] and qzeros [G, N / 8] int32, scales [G, N] float16; g_idx [K] int32 on the
    CPU, or None or on the meta device for groups of K / G rows in order.
    """
    return _build("cpu" if device == CPU else "cuda").make_q4(
        qweight, qzeros, scales, g_idx, device
    )


def q4_matmul(x, w, out):
    """x [M, K] times the weights behind handle w -> out [M, N], all of it written; float16."""
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"x must be a tensor, not {type(x).__name__}")
    build = _loaded.get("cuda" if x.is_cuda else "cpu" if x.is_cpu else "")
    (build or _build(x.device.type)).q4_matmul(x, w, out)


def product_choices(w, rows):
    """The kernels that can compute a product of so many rows, in words, the one that does first.

    For tests and measurements of matrices on a GPU; empty where there is one way alone.
    """
    return _build("cuda").product_choices(w, rows)


def choose_product(number):
    """Until cleanup, take this one of `product_choices`; past its end it begins anew."""
    _build("cuda").choose_product(number)


def cleanup():
    """Free all handles and forget all buffers and settings."""
    global _tuning, _generation
    for build in _loaded.values():
        build.cleanup()
    _tuning = None
    _generation += 1
    _buffers.clear()


def buffers(device):
    """(temp_state, temp_dq) as prepared for `device` since the last cleanup, or None."""
    return _buffers.get(device)


def generation():
    """A number that changes with each cleanup: handles from under another one are dead."""
    return _generation


def build_of(device):
    """The extension for tensors on `device`, built if need be."""
    return _build(device.type)


def _build(kind):
    build = _loaded.get(kind)
    if build is None:
        if kind not in ("cpu", "cuda"):
            raise ValueError(f"the ExLlama extension runs on a CPU or a CUDA device, not on {kind}")
        build = extension(kind)
        if _tuning is not None:
            build.set_tuning_params(*_tuning)
        if not _loaded:
            atexit.register(cleanup)  # before torch goes
        _loaded[kind] = build
    return build
