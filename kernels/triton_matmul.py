"""Triton kernels that multiply with 2, 4 or 8-bit GPTQ weights, straight and transposed.

The weight of a code q with zero-point z and scale s is (q - z) * s: q - z exactly, times s in
float32, rounded once to the dtype of x. Products are summed in float32 and rounded once more.
"""

import functools

import triton
import triton.language as tl

from . import packing
from .custom_autotune import autotune, matmul248_kernel_config_pruner

# M, N, K sides of a block, warps. The first that a shape leaves is what Triton's interpreter
# takes, so it is one with few and large blocks.
BLOCKS = (
    (64, 64, 64, 4),
    (16, 32, 128, 4),
    (16, 64, 64, 4),
    (16, 128, 32, 4),
    (32, 64, 64, 4),
    (32, 128, 32, 4),
    (128, 64, 32, 4),
    (128, 128, 32, 8),
)
ZERO_OFFSET = tl.constexpr(packing.ZERO_OFFSET)
VECTOR = tl.constexpr(16)  # elements; what Triton asks of strides before it vectorises an access
# Triton would compile anew for each class of each of these: 1, a multiple of 16, another. ALIGNED
# stands for all of it at once, so a config has two binaries per dtype and bits, not one per shape.
INTEGERS = ["M", "N", "K", "G", "stride_xm", "stride_qk", "stride_qn", "stride_om", "stride_sg",
            "stride_sn", "stride_zg", "stride_zn", "stride_g"]  # fmt: skip


def _tuned(kernel, num_stages):
    """The autotuner over BLOCKS; a config with too many stages does not fit shared memory."""
    configs = [
        triton.Config(
            {"BLOCK_SIZE_M": m, "BLOCK_SIZE_N": n, "BLOCK_SIZE_K": k, "GROUP_SIZE_M": 8},
            num_warps=warps,
            num_stages=num_stages,
        )
        for m, n, k, warps in BLOCKS
    ]
    pruning = {"early_config_prune": matmul248_kernel_config_pruner}
    return autotune(
        configs, ["M", "N", "K", "G", "bits", "ALIGNED"], pruning, nearest_power_of_two=True,
        restore_value=(),
    )(kernel)  # fmt: skip


@triton.jit
def whole_vectors(size):
    """A multiple of VECTOR in a form that shows it: the compiler reads arithmetic, not promises."""
    return size // VECTOR * VECTOR


@triton.jit
def numbers_of_block(rows, columns, BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr,
                     GROUP_SIZE_M: tl.constexpr):  # fmt: skip
    """Down and across, of this program's block of the output; bands of blocks share L2."""
    pid = tl.program_id(0)
    blocks_m = tl.cdiv(rows, BLOCK_ROWS)
    blocks_in_band = GROUP_SIZE_M * tl.cdiv(columns, BLOCK_COLUMNS)
    first_m = pid // blocks_in_band * GROUP_SIZE_M
    rows_in_band = tl.minimum(blocks_m - first_m, GROUP_SIZE_M)
    return first_m + pid % blocks_in_band % rows_in_band, pid % blocks_in_band // rows_in_band


@triton.jit
def block_of_program(rows, columns, BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr,
                     GROUP_SIZE_M: tl.constexpr):  # fmt: skip
    """Row and column offsets of this program's block of the output."""
    pid_m, pid_n = numbers_of_block(rows, columns, BLOCK_ROWS, BLOCK_COLUMNS, GROUP_SIZE_M)
    return (
        pid_m.to(tl.int64) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS),
        pid_n * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS),
    )


@triton.jit
def groups_of_rows(offs_k, K, G, g_idx_ptr, stride_g):
    """g_idx at these rows, 0 past K; -1 for a group that does not exist.

    The argument checks have read g_idx. Should it have been overwritten since, the output is NaN,
    and nothing is read from outside the scales.
    """
    groups = tl.load(g_idx_ptr + offs_k.to(tl.int64) * stride_g, mask=offs_k < K, other=0)
    return tl.where((groups >= 0) & (groups < G), groups, -1).to(tl.int64)


@triton.jit
def dequantize_block(offs_k, offs_n, groups, K, N, qweight_ptr, scales_ptr, qzeros_ptr,
                     stride_qk, stride_qn, stride_sg, stride_sn, stride_zg, stride_zn,
                     bits: tl.constexpr, maxq: tl.constexpr, dtype: tl.constexpr):  # fmt: skip
    """W [offs_k, offs_n]; 0 outside K and N."""
    pack_factor: tl.constexpr = 32 // bits
    k, n, group = offs_k[:, None], offs_n[None, :], groups[:, None]
    inside = (k < K) & (n < N)
    known = inside & (group >= 0)
    n64 = n.to(tl.int64)
    words = tl.load(
        qweight_ptr + (k // pack_factor).to(tl.int64) * stride_qk + n64 * stride_qn,
        mask=inside, other=0,
    )  # fmt: skip
    zero_words = tl.load(
        qzeros_ptr + group * stride_zg + n64 // pack_factor * stride_zn, mask=known, other=0
    )
    scales = tl.load(scales_ptr + group * stride_sg + n64 * stride_sn, mask=known, other=0)
    codes = (words >> (k % pack_factor * bits)) & maxq
    zeros = ((zero_words >> (n % pack_factor * bits)) + ZERO_OFFSET) & maxq
    scales = tl.where(group >= 0, scales.to(tl.float32), float("nan"))
    return ((codes - zeros).to(tl.float32) * scales).to(dtype)


@functools.partial(_tuned, num_stages=4)
@triton.jit(do_not_specialize=[*INTEGERS, "stride_xk", "stride_on"])
def matmul_248_kernel(x_ptr, qweight_ptr, out_ptr, scales_ptr, qzeros_ptr, g_idx_ptr, M, N, K, G,
                      stride_xm, stride_xk, stride_qk, stride_qn, stride_om, stride_on,
                      stride_sg, stride_sn, stride_zg, stride_zn, stride_g,
                      bits: tl.constexpr, maxq: tl.constexpr, ALIGNED: tl.constexpr,
                      BLOCK_SIZE_M: tl.constexpr, BLOCK_SIZE_N: tl.constexpr,
                      BLOCK_SIZE_K: tl.constexpr, GROUP_SIZE_M: tl.constexpr):  # fmt: skip
    """x [M, K] times W [K, N] -> out [M, N]."""
    if ALIGNED:
        stride_xk, stride_qn, stride_on, stride_sn, stride_zn, stride_g = 1, 1, 1, 1, 1, 1
        N, K = whole_vectors(N), whole_vectors(K)
        stride_xm, stride_om = whole_vectors(stride_xm), whole_vectors(stride_om)
        stride_qk, stride_sg = whole_vectors(stride_qk), whole_vectors(stride_sg)
    offs_m, offs_n = block_of_program(M, N, BLOCK_SIZE_M, BLOCK_SIZE_N, GROUP_SIZE_M)
    x_rows = x_ptr + offs_m[:, None] * stride_xm
    acc = tl.zeros((BLOCK_SIZE_M, BLOCK_SIZE_N), dtype=tl.float32)
    for start in range(0, K, BLOCK_SIZE_K):
        offs_k = start + tl.arange(0, BLOCK_SIZE_K)
        x = tl.load(
            x_rows + offs_k[None, :].to(tl.int64) * stride_xk,
            mask=(offs_m[:, None] < M) & (offs_k[None, :] < K), other=0,
        )  # fmt: skip
        groups = groups_of_rows(offs_k, K, G, g_idx_ptr, stride_g)
        w = dequantize_block(
            offs_k, offs_n, groups, K, N, qweight_ptr, scales_ptr, qzeros_ptr,
            stride_qk, stride_qn, stride_sg, stride_sn, stride_zg, stride_zn,
            bits, maxq, x_ptr.dtype.element_ty,
        )  # fmt: skip
        acc = tl.dot(x, w, acc)
    out_ptrs = out_ptr + offs_m[:, None] * stride_om + offs_n[None, :].to(tl.int64) * stride_on
    inside = (offs_m[:, None] < M) & (offs_n[None, :] < N)
    tl.store(out_ptrs, acc.to(out_ptr.dtype.element_ty), mask=inside)


# Here the words, zero-points and scales are prefetched too: more stages need more than the 99 KiB
# of shared memory that consumer GPUs have.
@functools.partial(_tuned, num_stages=2)
@triton.jit(do_not_specialize=[*INTEGERS, "stride_xn", "stride_ok"])
def transpose_matmul_248_kernel(x_ptr, qweight_ptr, out_ptr, scales_ptr, qzeros_ptr, g_idx_ptr,
                                M, N, K, G,
                                stride_xm, stride_xn, stride_qk, stride_qn, stride_om, stride_ok,
                                stride_sg, stride_sn, stride_zg, stride_zn, stride_g,
                                bits: tl.constexpr, maxq: tl.constexpr, ALIGNED: tl.constexpr,
                                BLOCK_SIZE_M: tl.constexpr, BLOCK_SIZE_N: tl.constexpr,
                                BLOCK_SIZE_K: tl.constexpr,
                                GROUP_SIZE_M: tl.constexpr):  # fmt: skip
    """x [M, N] (a gradient) times W transposed [N, K] -> out [M, K]."""
    if ALIGNED:
        stride_xn, stride_qn, stride_ok, stride_sn, stride_zn, stride_g = 1, 1, 1, 1, 1, 1
        N, K = whole_vectors(N), whole_vectors(K)
        stride_xm, stride_om = whole_vectors(stride_xm), whole_vectors(stride_om)
        stride_qk, stride_sg = whole_vectors(stride_qk), whole_vectors(stride_sg)
    offs_m, offs_k = block_of_program(M, K, BLOCK_SIZE_M, BLOCK_SIZE_K, GROUP_SIZE_M)
    x_rows = x_ptr + offs_m[:, None] * stride_xm
    groups = groups_of_rows(offs_k, K, G, g_idx_ptr, stride_g)
    acc = tl.zeros((BLOCK_SIZE_M, BLOCK_SIZE_K), dtype=tl.float32)
    for start in range(0, N, BLOCK_SIZE_N):
        offs_n = start + tl.arange(0, BLOCK_SIZE_N)
        x = tl.load(
            x_rows + offs_n[None, :].to(tl.int64) * stride_xn,
            mask=(offs_m[:, None] < M) & (offs_n[None, :] < N), other=0,
        )  # fmt: skip
        w = dequantize_block(
            offs_k, offs_n, groups, K, N, qweight_ptr, scales_ptr, qzeros_ptr,
            stride_qk, stride_qn, stride_sg, stride_sn, stride_zg, stride_zn,
            bits, maxq, x_ptr.dtype.element_ty,
        )  # fmt: skip
        acc = tl.dot(x, tl.trans(w), acc)
    out_ptrs = out_ptr + offs_m[:, None] * stride_om + offs_k[None, :].to(tl.int64) * stride_ok
    inside = (offs_m[:, None] < M) & (offs_k[None, :] < K)
    tl.store(out_ptrs, acc.to(out_ptr.dtype.element_ty), mask=inside)
