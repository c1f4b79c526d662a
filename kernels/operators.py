"""Products with GPTQ weights: checked, launched, and known to autograd and torch.compile."""

import torch
import triton
from torch import Tensor, library
from torch._subclasses import FakeTensor

from . import checks
from .interpreter import bfloat16_works
from .runs import run_of
from .triton_matmul import VECTOR, matmul_248_kernel, transpose_matmul_248_kernel
from .uniform_groups import plan, product


def matmul248(
    input, qweight, scales, qzeros, g_idx, bits, maxq, *, out=None, config=None, group_size=None
):
    """input [..., K] float16 or bfloat16 times W [K, N] -> [..., N] in the same dtype.

    qweight [K // pack_factor, N] and qzeros [G, N // pack_factor] int32, the latter storing
    zero-points minus one modulo 2**bits; scales [G, N]; g_idx [K] int32, or None for groups of
    `group_size` rows in order (-1: one group). Any strides. `out` receives the result, `config` (a
    triton.Config, or one of uniform_groups.plan.TILES) replaces the one chosen; with either of the
    two there is no gradient.
    """
    checks.require_maxq(maxq, bits)
    if g_idx is None:
        g_idx = checks.sequential_g_idx(qweight, scales, bits, group_size)
    if out is None and config is None:
        checks.require_tensors(x=input, qweight=qweight, scales=scales, qzeros=qzeros, g_idx=g_idx)
        return matmul_op(input, qweight, scales, qzeros, g_idx, bits)
    return _launch_directly(
        matmul_248_kernel, input, qweight, scales, qzeros, g_idx, bits, out, config
    )


def transpose_matmul248(
    input, qweight, scales, qzeros, g_idx, bits, maxq, *, out=None, config=None, group_size=None
):
    """input [..., N] times W transposed [N, K] -> [..., K]; the rest as for matmul248."""
    checks.require_maxq(maxq, bits)
    if g_idx is None:
        g_idx = checks.sequential_g_idx(qweight, scales, bits, group_size)
    if out is None and config is None:
        checks.require_tensors(x=input, qweight=qweight, scales=scales, qzeros=qzeros, g_idx=g_idx)
        return transpose_matmul_op(input, qweight, scales, qzeros, g_idx, bits)
    return _launch_directly(
        transpose_matmul_248_kernel, input, qweight, scales, qzeros, g_idx, bits, out, config
    )


def _launch_directly(kernel, x, qweight, scales, qzeros, g_idx, bits, out, config):
    """Past torch's dispatcher, which writes out what is lazily negated for an operator."""
    operands = {"x": x, "qweight": qweight, "scales": scales, "qzeros": qzeros, "g_idx": g_idx}
    checks.require_tensors(**operands)
    _require_no_gradient(x, scales)
    if any(isinstance(tensor, FakeTensor) for tensor in (*operands.values(), out)):
        raise ValueError("with out or config every tensor must hold values, there are fake ones")
    return _launch(kernel, *map(checks.in_memory, operands.values()), bits, out, config)


def _launch(kernel, x, qweight, scales, qzeros, g_idx, bits, out=None, config=None):
    """Check the operands, launch on the current stream of their device, return [..., columns]."""
    K, N, G = checks.sizes_of_weights(qweight, qzeros, scales, g_idx, bits)
    inner, columns = (N, K) if kernel is transpose_matmul_248_kernel else (K, N)
    checks.require_activations("x", x, inner, qweight.device)
    checks.require_launchable(x.device, kernel.interpreted)
    if kernel.interpreted and x.dtype == torch.bfloat16 and not bfloat16_works(x.device.type):
        raise TypeError(
            "x must be torch.float16: Triton's interpreter multiplies torch.bfloat16 wrongly"
        )
    if out is not None:
        operands = {"x": x, "qweight": qweight, "scales": scales, "qzeros": qzeros, "g_idx": g_idx}
        checks.require_output(out, x, columns, operands)
    checks.require_group_indices(g_idx, G)
    shape = (*x.shape[:-1], columns)
    result = torch.empty(shape, dtype=x.dtype, device=x.device) if out is None else out
    if result.numel() == 0:
        return result
    rows = x.reshape(-1, inner)  # a view where the strides allow one
    out_rows = result.reshape(-1, columns)
    with torch.cuda.device_of(x):
        written = _multiply(kernel, rows, (qweight, scales, qzeros, g_idx), out_rows, bits, config)
    if written.data_ptr() != result.data_ptr():  # strides that no two dimensions can describe
        result.copy_(written.view(shape))
    return result


def _multiply(kernel, rows, weights, out_rows, bits, config):
    """The result [M, columns], in out_rows where the kernel can write there."""
    if not isinstance(config, triton.Config):
        uniform = product.uniform_weights(rows, *weights, bits)
        served = uniform is not None and (config is None or product.serves(config, uniform))
        if served and kernel is matmul_248_kernel:
            return _multiply_uniform(rows, uniform, out_rows, config)
        K, N = rows.shape[1], out_rows.shape[1]
        if uniform is not None and config is None and K * N <= plan.MOST_TRANSPOSED:
            out_rows = _contiguous(out_rows)
            product.transposed_matmul(rows, uniform, out_rows)
            return out_rows
    if isinstance(config, plan.Tile):
        wanted = "weights in groups of one size (see kernels/uniform_groups)"
        if config.kind == plan.WGMMA:
            wanted = (
                "a Hopper GPU and weights as TMA reads them (see kernels/uniform_groups/wgmma.py)"
            )
        raise ValueError(f"the config {config.name} wants {wanted}")
    _multiply_any(kernel, rows, weights, out_rows, bits, config)
    return out_rows


def _multiply_uniform(rows, weights, out_rows, tile):
    """The result, in out_rows where these are contiguous."""
    out_rows = _contiguous(out_rows)
    (M, K), N = rows.shape, out_rows.shape[1]
    chosen = plan.plan(
        M, N, K, weights.bits, weights.rows_per_group, plan.processors(rows.device),
        weights.order is not None, tile, weights.tma,
    )  # fmt: skip
    product.matmul(rows, weights, out_rows, chosen)
    return out_rows


def _contiguous(out_rows):
    """These, or memory for the same result."""
    if out_rows.is_contiguous():
        return out_rows
    return torch.empty_like(out_rows, memory_format=torch.contiguous_format)


def _multiply_any(kernel, rows, weights, out_rows, bits, config):
    """Into out_rows, for any weights, by the tuned config or this one."""
    qweight, scales, qzeros, g_idx = weights
    K, N, G = len(g_idx), qweight.shape[1], len(scales)
    M, columns = out_rows.shape
    block = _block_of_columns(kernel)

    def grid(meta):
        return (triton.cdiv(M, meta["BLOCK_SIZE_M"]) * triton.cdiv(columns, meta[block]),)

    arguments = (
        rows, qweight, out_rows, scales, qzeros, g_idx, M, N, K, G,
        *rows.stride(), *qweight.stride(), *out_rows.stride(),
        *scales.stride(), *qzeros.stride(), *g_idx.stride(), bits, 2**bits - 1,
        _is_aligned(rows, qweight, out_rows, scales, qzeros, g_idx), run_of(g_idx),
    )  # fmt: skip
    if config is None:
        kernel.run(*arguments, grid=grid)
    else:
        kernel.launch(config, *arguments, grid=grid)


def _block_of_columns(kernel):
    """The side of a block that tiles the rows of the output."""
    return "BLOCK_SIZE_K" if kernel is transpose_matmul_248_kernel else "BLOCK_SIZE_N"


def _is_aligned(rows, qweight, out_rows, scales, qzeros, g_idx):
    """Whether every access may be as wide as the hardware's: ALIGNED of the kernels."""
    matrices = (rows, qweight, out_rows, scales)
    lengths = (length for tensor in matrices for length in (tensor.shape[1], tensor.stride(0)))
    return all(length % VECTOR.value == 0 for length in lengths) and all(
        tensor.stride(-1) == 1 for tensor in (*matrices, qzeros, g_idx)
    )


def _require_no_gradient(*tensors):
    if torch.is_grad_enabled() and any(getattr(t, "requires_grad", False) for t in tensors):
        raise ValueError("with out or config there is no gradient: detach, or use torch.no_grad()")


# Opaque to torch.compile, which traces neither the tuner nor the checks.
@library.custom_op("gptq_fuzz::matmul248", mutates_args=())
def matmul_op(
    x: Tensor, qweight: Tensor, scales: Tensor, qzeros: Tensor, g_idx: Tensor, bits: int
) -> Tensor:
    return _launch(matmul_248_kernel, x, qweight, scales, qzeros, g_idx, bits)


@library.custom_op("gptq_fuzz::transpose_matmul248", mutates_args=())
def transpose_matmul_op(
    x: Tensor, qweight: Tensor, scales: Tensor, qzeros: Tensor, g_idx: Tensor, bits: int
) -> Tensor:
    return _launch(transpose_matmul_248_kernel, x, qweight, scales, qzeros, g_idx, bits)


@matmul_op.register_fake
def _(x, qweight, scales, qzeros, g_idx, bits):
    K, N, _ = checks.sizes_of_weights(qweight, qzeros, scales, g_idx, bits)
    checks.require_activations("x", x, K, qweight.device)
    return x.new_empty((*x.shape[:-1], N))


@transpose_matmul_op.register_fake
def _(x, qweight, scales, qzeros, g_idx, bits):
    K, N, _ = checks.sizes_of_weights(qweight, qzeros, scales, g_idx, bits)
    checks.require_activations("x", x, N, qweight.device)
    return x.new_empty((*x.shape[:-1], K))


def _save_weights(ctx, inputs, output):
    _, *weights, ctx.bits = inputs
    require_no_scale_gradient(ctx)
    ctx.save_for_backward(*weights)


def require_no_scale_gradient(ctx):
    if ctx.needs_input_grad[2]:
        raise NotImplementedError("scales require a gradient; there is one for x only")


def _backward_of(op):
    def backward(ctx, grad):
        grad_x = op(grad, *ctx.saved_tensors, ctx.bits) if ctx.needs_input_grad[0] else None
        return grad_x, None, None, None, None, None

    return backward


matmul_op.register_autograd(_backward_of(transpose_matmul_op), setup_context=_save_weights)
transpose_matmul_op.register_autograd(_backward_of(matmul_op), setup_context=_save_weights)
