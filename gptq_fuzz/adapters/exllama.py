"""Backend `exllama`: the ExLlama extension, through its layer or, with tokens, by its functions.

On a CPU it is the host build: the same kernel sources, their blocks and threads in an order that
follows from the case's seed.
"""

from __future__ import annotations

import ctypes
import functools
import os

import torch

from gptq_fuzz.case.axes import G_IDX_KINDS, RANKS, STRIDED, USUAL_CONDITIONS, WORD_BITS
from gptq_fuzz.case.backend import Backend, Limits, Numerics
from gptq_fuzz.case.case import Case, Token
from gptq_fuzz.kernels import exllama
from gptq_fuzz.kernels.exllama.build import extension
from gptq_fuzz.kernels.exllama.linear import ExllamaQuantLinear

# Worker processes that serve a CPU set this variable, for Triton's interpreter too.
ON_CPU = os.environ.get("TRITON_INTERPRET") == "1" or not torch.cuda.is_available()
ORDERS = ("forward", "reverse", "random")  # of blocks and of their threads; by number in C++
ZONE = 64  # elements around scratch memory: 128 bytes, which keeps it aligned
SENTINEL = 0x5A5A  # a finite half that no result here is by chance
TOKENS = (
    # From so many rows on the weights are reconstructed, whether it pays or not; 0: never.
    Token("thd", ("0", "1", "8", "50")),
    Token("fused", ("0", "1")),
    Token("nohalf2", ("0", "1")),
)
# Which of the kernels that can compute the product: the fastest, and some of the others.
PLAN = Token("plan", ("0", "1", "2", "3", "5", "8", "13", "21"))


def matmul(
    *, x, bias, bits, group_size, out=None, thd=None, fused=None, nohalf2=None, plan=None, **weights
):
    """Through the layer; with one of the tokens, or into `out`, by the five functions."""
    weights.pop("checkpoint_format")
    chosen = [thd, fused, nohalf2]
    try:
        if chosen == [None] * 3 and plan is None and out is None:
            layer = ExllamaQuantLinear(**weights, bias=bias, bits=bits, groupsize=group_size)
            return layer(x)
        if bits != 4:
            raise NotImplementedError(f"bits must be 4, not {bits}")
        defaults = (8 if plan is None else 0, 0, 0)
        tuning = [int(value or default) for value, default in zip(chosen, defaults, strict=True)]
        if plan is not None:
            exllama.choose_product(int(plan))
        result = _multiply(x, weights, group_size, tuning, out)
        return result if bias is None else result.add_(bias)
    finally:
        exllama.cleanup()


def _multiply(x, weights, group_size, tuning, out):
    """x [..., K] -> [..., N] by the five functions, with scratch memory of just the right size."""
    thd, fused, no_half2 = tuning
    device = weights["qweight"].device
    tensors = {name: tensor.contiguous() for name, tensor in weights.items() if tensor is not None}
    g_idx = _host_g_idx(tensors, group_size)
    number = exllama.CPU if device.type == "cpu" else device.index
    handle = exllama.make_q4(
        tensors["qweight"], tensors["qzeros"], tensors["scales"], g_idx, number
    )
    K, N = tensors["qweight"].shape[0] * WORD_BITS // 4, tensors["qweight"].shape[1]
    rows = x.reshape(-1, x.shape[-1])
    if rows.stride(1) != 1 or rows.stride(0) < K:
        rows = rows.contiguous()
    scratch = [_Scratch(rows.shape[0] * K, device), _Scratch(K * N, device)]
    exllama.set_tuning_params(-thd, bool(fused), bool(no_half2))
    exllama.prepare_buffers(device, *(one.inside for one in scratch))
    result = x.new_empty(rows.shape[0], N) if out is None else out.view(-1, N)
    exllama.q4_matmul(rows, handle, result)
    if not all(one.is_intact() for one in scratch):
        raise MemoryError("the kernel wrote outside temp_state or temp_dq")
    return result.view(*x.shape[:-1], N)


class _Scratch:
    """Poisoned memory of an exact size with red zones on both sides."""

    def __init__(self, elements: int, device):
        self._all = torch.full((elements + 2 * ZONE,), SENTINEL, dtype=torch.int16, device=device)
        self._all[ZONE : ZONE + elements] = -1  # NaN
        self.inside = self._all.view(torch.float16)[ZONE : ZONE + elements]

    def is_intact(self) -> bool:
        return bool((self._all[:ZONE] == SENTINEL).all() & (self._all[-ZONE:] == SENTINEL).all())


def _host_g_idx(tensors, group_size):
    """g_idx on the CPU as servers pass it; where it is absent and groups are unequal, spelled."""
    if "g_idx" in tensors:
        return tensors["g_idx"].cpu()
    K, G = tensors["qweight"].shape[0] * WORD_BITS // 4, tensors["qzeros"].shape[0]
    if group_size * G in (K, -1):
        return None
    return torch.arange(K, dtype=torch.int32, device="cpu") // group_size


def set_host_order(order: str, seed: int) -> None:
    """In which order the host build runs blocks, and the threads of a block."""
    if _order_function()(ORDERS.index(order), seed):
        raise ValueError(f"wanted one of {', '.join(ORDERS)}, got {order}")


@functools.cache
def _order_function():
    function = ctypes.CDLL(extension("cpu").__file__).exllama_host_order
    function.argtypes = (ctypes.c_int, ctypes.c_uint64)
    return function


class Ordered(Backend):
    """On a CPU, blocks and threads run in an order that the case's seed decides."""

    def call(self, case: Case, left, weights: dict, out=None):
        if weights["qweight"].device.type == "cpu":
            set_host_order(ORDERS[case.seed % len(ORDERS)], case.seed)
        return super().call(case, left, weights, out)


def start(device: str) -> None:
    """Build and load the version for `device`. Raises CannotBuild with what to install."""
    extension(device.split(":")[0])


EXLLAMA = Ordered(
    name="exllama",
    matmul=matmul,
    accepts_out=True,
    deterministic=True,
    start=start,
    limits=Limits(
        bits=(4,),
        g_idx=G_IDX_KINDS,
        ranks=RANKS,
        strided=STRIDED,
        bias=True,
        # There is no gradient; the five functions have handles and buffers for a whole process.
        conditions=(*(c for c in USUAL_CONDITIONS if c not in ("grad", "threads2")), "oom"),
        tokens=TOKENS if ON_CPU else (*TOKENS, PLAN),
        tile=(32, 32, 64),
        max_tiles=128 if ON_CPU else 8192,
    ),
    # The kernels for few rows on compute capability 9.0 scale sums: their weights are not rounded.
    numerics=Numerics(weights=("x",) if ON_CPU else ("exact", "x"), folds_zero=False),
)
