"""Triton kernels that multiply with 2, 4 or 8-bit GPTQ weights, straight and transposed.

The weight of a code q with zero-point z and scale s is (q - z) * s: q - z exactly, times s in
float32, rounded once to the dtype of x. Products are summed in float32 and rounded once more.
"""

import functools

import triton
import triton.language as tl

from . import packing
from .custom_autotune import autotune, matmul248_kernel_config_pruner

# M, N, K sides of a block, warps, stages. The first that a shape leaves is what Triton's
# interpreter takes, so it is one with few and large blocks.
BLOCKS = (
    (64, 64, 64, 4, 4),
    (16, 32, 128, 4, 4),
    (16, 64, 64, 4, 4),
    (16, 128, 32, 4, 4),
    (32, 64, 64, 4, 4),
    (32, 128, 32, 4, 4),
    (128, 64, 32, 4, 4),
    (128, 128, 32, 8, 4),
    (128, 64, 64, 8, 4),
    (256, 64, 64, 4, 3),  # of which a processor of Hopper holds two
)
ZERO_OFFSET = tl.constexpr(packing.ZERO_OFFSET)
INTEGER = tl.constexpr(0x4B000000)  # float32 2**23: what is added to its last bits, it adds
VECTOR = tl.constexpr(16)  # elements; what Triton asks of strides before it vectorises an access
# Triton would compile anew for each class of each of these: 1, a multiple of 16, another. ALIGNED
# stands for all of it at once, so a config has two binaries per dtype and bits, not one per shape.
INTEGERS = ["M", "N", "K", "G", "stride_xm", "stride_qk", "stride_qn", "stride_om", "stride_sg",
            "stride_sn", "stride_zg", "stride_zn", "stride_g"]  # fmt: skip


def _tuned(kernel, most_stages):
    """The autotuner over BLOCKS; a config with too many stages does not fit shared memory."""
    configs = [
        triton.Config(
            {"BLOCK_SIZE_M": m, "BLOCK_SIZE_N": n, "BLOCK_SIZE_K": k, "GROUP_SIZE_M": 8},
            num_warps=warps,
            num_stages=min(stages, most_stages),
        )
        for m, n, k, warps, stages in BLOCKS
    ]
    pruning = {"early_config_prune": matmul248_kernel_config_pruner}
    return autotune(
        configs, ["M", "N", "K", "G", "bits", "ALIGNED", "RUN"], pruning, nearest_power_of_two=True,
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
def spread(rows, TIMES: tl.constexpr):
    """[R, N] -> [R * TIMES, N]: each row so many times, one after the other."""
    R: tl.constexpr = rows.shape[0]
    N: tl.constexpr = rows.shape[1]
    return tl.reshape(tl.broadcast_to(rows[:, None, :], (R, TIMES, N)), (R * TIMES, N))


@triton.jit
def groups_of_runs(start, K, G, g_idx_ptr, stride_g, RUN: tl.constexpr,
                   BLOCK_SIZE_K: tl.constexpr):  # fmt: skip
    """g_idx of the runs of a block of K, each as long as the block at most; -1: no such group.

    The argument checks have read g_idx. Should it have been overwritten since, the output is NaN,
    and nothing is read from outside the scales.
    """
    length: tl.constexpr = RUN if RUN < BLOCK_SIZE_K else BLOCK_SIZE_K
    rows = start + tl.arange(0, BLOCK_SIZE_K // length) * length
    groups = tl.load(g_idx_ptr + rows.to(tl.int64) * stride_g, mask=rows < K, other=0)
    return tl.where((groups >= 0) & (groups < G), groups, -1)


@triton.jit
def grids_of_runs(start, groups, offs_n, K, N, scales_ptr, qzeros_ptr,
                  stride_sg, stride_sn, stride_zg, stride_zn, bits: tl.constexpr,
                  BLOCK_SIZE_K: tl.constexpr):  # fmt: skip
    """(whether a group exists, scales, words of zero-points); the latter 0 outside K and N."""
    length: tl.constexpr = BLOCK_SIZE_K // groups.shape[0]
    rows = start + tl.arange(0, groups.shape[0]) * length
    n64, group = offs_n[None, :].to(tl.int64), groups.to(tl.int64)[:, None]
    known = (rows[:, None] < K) & (offs_n[None, :] < N) & (group >= 0)
    zero_words = tl.load(
        qzeros_ptr + group * stride_zg + n64 // (32 // bits) * stride_zn, mask=known, other=0
    )
    scales = tl.load(scales_ptr + group * stride_sg + n64 * stride_sn, mask=known, other=0)
    return groups >= 0, scales, zero_words


@triton.jit
def dequantize_block(start, offs_n, known, scales, zero_words, K, N, qweight_ptr,
                     stride_qk, stride_qn, bits: tl.constexpr, maxq: tl.constexpr,
                     dtype: tl.constexpr, BLOCK_SIZE_K: tl.constexpr):  # fmt: skip
    """W [rows of K from `start` on, offs_n], of runs of one group each; 0 outside K and N."""
    pack_factor: tl.constexpr = 32 // bits
    length: tl.constexpr = BLOCK_SIZE_K // known.shape[0]
    offs_w, n = start // pack_factor + tl.arange(0, BLOCK_SIZE_K // pack_factor), offs_n[None, :]
    words = tl.load(
        qweight_ptr + offs_w[:, None].to(tl.int64) * stride_qk + n.to(tl.int64) * stride_qn,
        mask=(offs_w[:, None] < K // pack_factor) & (n < N), other=0,
    )  # fmt: skip
    zeros = ((zero_words >> (n % pack_factor * bits)) + ZERO_OFFSET) & maxq
    scales = tl.where(known[:, None], scales.to(tl.float32), float("nan"))
    # As the last bits of a float32 of 2**23 and more: exact, without a conversion, which is slow
    zeros = (zeros | INTEGER).to(tl.float32, bitcast=True)
    if length > 1:
        zeros, scales = spread(zeros, length), spread(scales, length)
    shifts = tl.arange(0, pack_factor) * bits
    codes = ((words[:, None, :] >> shifts[None, :, None]) & maxq) | INTEGER
    codes = tl.reshape(codes.to(tl.float32, bitcast=True), zeros.shape)
    return ((codes - zeros) * scales).to(dtype)


@functools.partial(_tuned, most_stages=4)
@triton.jit(do_not_specialize=[*INTEGERS, "stride_xk", "stride_on"])
def matmul_248_kernel(x_ptr, qweight_ptr, out_ptr, scales_ptr, qzeros_ptr, g_idx_ptr, M, N, K, G,
                      stride_xm, stride_xk, stride_qk, stride_qn, stride_om, stride_on,
                      stride_sg, stride_sn, stride_zg, stride_zn, stride_g,
                      bits: tl.constexpr, maxq: tl.constexpr, ALIGNED: tl.constexpr,
                      RUN: tl.constexpr, BLOCK_SIZE_M: tl.constexpr, BLOCK_SIZE_N: tl.constexpr,
                      BLOCK_SIZE_K: tl.constexpr, GROUP_SIZE_M: tl.constexpr):  # fmt: skip
    """x [M, K] times W [K, N] -> out [M, N].

    RUN rows of K, from a multiple of it on, have one group; 1: any g_idx.
    """
    if ALIGNED:
        stride_xk, stride_qn, stride_on, stride_sn, stride_zn, stride_g = 1, 1, 1, 1, 1, 1
        N, K = whole_vectors(N), whole_vectors(K)
        stride_xm, stride_om = whole_vectors(stride_xm), whole_vectors(stride_om)
        stride_qk, stride_sg = whole_vectors(stride_qk), whole_vectors(stride_sg)
    pid_m, pid_n = numbers_of_block(M, N, BLOCK_SIZE_M, BLOCK_SIZE_N, GROUP_SIZE_M)
    offs_m = pid_m.to(tl.int64) * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
    offs_n = pid_n * BLOCK_SIZE_N + tl.arange(0, BLOCK_SIZE_N)
    x_rows = x_ptr + offs_m[:, None] * stride_xm
    acc = tl.zeros((BLOCK_SIZE_M, BLOCK_SIZE_N), dtype=tl.float32)
    # Of runs, a group, then its scales, are asked for while the blocks before are multiplied: each
    # waits for the one before, and the compiler brings forward only what waits for nothing.
    if RUN > 1:
        groups = groups_of_runs(0, K, G, g_idx_ptr, stride_g, RUN, BLOCK_SIZE_K)
        next_known, next_scales, next_zeros = grids_of_runs(
            0, groups, offs_n, K, N, scales_ptr, qzeros_ptr, stride_sg, stride_sn, stride_zg,
            stride_zn, bits, BLOCK_SIZE_K,
        )  # fmt: skip
        groups = groups_of_runs(BLOCK_SIZE_K, K, G, g_idx_ptr, stride_g, RUN, BLOCK_SIZE_K)
    for start in range(0, K, BLOCK_SIZE_K):
        if RUN > 1:
            known, scales, zeros = next_known, next_scales, next_zeros
            next_known, next_scales, next_zeros = grids_of_runs(
                start + BLOCK_SIZE_K, groups, offs_n, K, N, scales_ptr, qzeros_ptr,
                stride_sg, stride_sn, stride_zg, stride_zn, bits, BLOCK_SIZE_K,
            )  # fmt: skip
            groups = groups_of_runs(
                start + 2 * BLOCK_SIZE_K, K, G, g_idx_ptr, stride_g, RUN, BLOCK_SIZE_K
            )
        else:
            known, scales, zeros = grids_of_runs(
                start, groups_of_runs(start, K, G, g_idx_ptr, stride_g, RUN, BLOCK_SIZE_K),
                offs_n, K, N, scales_ptr, qzeros_ptr, stride_sg, stride_sn, stride_zg, stride_zn,
                bits, BLOCK_SIZE_K,
            )  # fmt: skip
        offs_k = start + tl.arange(0, BLOCK_SIZE_K)
        x = tl.load(
            x_rows + offs_k[None, :].to(tl.int64) * stride_xk,
            mask=(offs_m[:, None] < M) & (offs_k[None, :] < K), other=0,
        )  # fmt: skip
        w = dequantize_block(
            start, offs_n, known, scales, zeros, K, N, qweight_ptr, stride_qk, stride_qn,
            bits, maxq, x_ptr.dtype.element_ty, BLOCK_SIZE_K,
        )  # fmt: skip
        acc = tl.dot(x, w, acc)
    out_ptrs = out_ptr + offs_m[:, None] * stride_om + offs_n[None, :].to(tl.int64) * stride_on
    inside = (offs_m[:, None] < M) & (offs_n[None, :] < N)
    tl.store(out_ptrs, acc.to(out_ptr.dtype.element_ty), mask=inside)


# Here the words, zero-points and scales are prefetched too: more stages need more than the 99 KiB
# of shared memory that consumer GPUs have.
@functools.partial(_tuned, most_stages=2)
@triton.jit(do_not_specialize=[*INTEGERS, "stride_xn", "stride_ok"])
def transpose_matmul_248_kernel(x_ptr, qweight_ptr, out_ptr, scales_ptr, qzeros_ptr, g_idx_ptr,
                                M, N, K, G,
                                stride_xm, stride_xn, stride_qk, stride_qn, stride_om, stride_ok,
                                stride_sg, stride_sn, stride_zg, stride_zn, stride_g,
                                bits: tl.constexpr, maxq: tl.constexpr, ALIGNED: tl.constexpr,
                                RUN: tl.constexpr, BLOCK_SIZE_M: tl.constexpr,
                                BLOCK_SIZE_N: tl.constexpr, BLOCK_SIZE_K: tl.constexpr,
                                GROUP_SIZE_M: tl.constexpr):  # fmt: skip
    """x [M, N] (a gradient) times W transposed [N, K] -> out [M, K]."""
    if ALIGNED:
        stride_xn, stride_qn, stride_ok, stride_sn, stride_zn, stride_g = 1, 1, 1, 1, 1, 1
        N, K = whole_vectors(N), whole_vectors(K)
        stride_xm, stride_om = whole_vectors(stride_xm), whole_vectors(stride_om)
        stride_qk, stride_sg = whole_vectors(stride_qk), whole_vectors(stride_sg)
    pid_m, pid_k = numbers_of_block(M, K, BLOCK_SIZE_M, BLOCK_SIZE_K, GROUP_SIZE_M)
    offs_m = pid_m.to(tl.int64) * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
    start_k = pid_k * BLOCK_SIZE_K
    offs_k = start_k + tl.arange(0, BLOCK_SIZE_K)
    x_rows = x_ptr + offs_m[:, None] * stride_xm
    groups = groups_of_runs(start_k, K, G, g_idx_ptr, stride_g, RUN, BLOCK_SIZE_K)
    acc = tl.zeros((BLOCK_SIZE_M, BLOCK_SIZE_K), dtype=tl.float32)
    for start in range(0, N, BLOCK_SIZE_N):
        offs_n = start + tl.arange(0, BLOCK_SIZE_N)
        x = tl.load(
            x_rows + offs_n[None, :].to(tl.int64) * stride_xn,
            mask=(offs_m[:, None] < M) & (offs_n[None, :] < N), other=0,
        )  # fmt: skip
        known, scales, zeros = grids_of_runs(
            start_k, groups, offs_n, K, N, scales_ptr, qzeros_ptr,
            stride_sg, stride_sn, stride_zg, stride_zn, bits, BLOCK_SIZE_K,
        )  # fmt: skip
        w = dequantize_block(
            start_k, offs_n, known, scales, zeros, K, N, qweight_ptr, stride_qk, stride_qn,
            bits, maxq, x_ptr.dtype.element_ty, BLOCK_SIZE_K,
        )  # fmt: skip
        acc = tl.dot(x, tl.trans(w), acc)
    out_ptrs = out_ptr + offs_m[:, None] * stride_om + offs_k[None, :].to(tl.int64) * stride_ok
    inside = (offs_m[:, None] < M) & (offs_k[None, :] < K)
    tl.store(out_ptrs, acc.to(out_ptr.dtype.element_ty), mask=inside)
