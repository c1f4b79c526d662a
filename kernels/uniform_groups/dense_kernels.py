"""Triton kernels that write the weights of groups of one size out, then multiply with them.

From some hundred rows of x on, making each weight once and reading it back costs less than making
it again for each block of rows. Weights are (q - z) * s, rounded once to the dtype of x; rows stand
where they do in the layer, so that x is taken as it lies.
"""

import triton
import triton.language as tl

from ..triton_matmul import numbers_of_block, whole_vectors
from .kernels import BLOCKS_IN_BAND, WORD_BITS, field_of, load_block


@triton.jit(do_not_specialize=["N", "rows_per_group", "stride_qk", "stride_sg", "stride_zg",
                               "stride_wk"])  # fmt: skip
def write_weights_kernel(qweight_ptr, scales_ptr, qzeros_ptr, order_ptr, w_ptr, N, rows_per_group,
                         stride_qk, stride_sg, stride_zg, stride_wk,
                         BITS: tl.constexpr, ORDERED: tl.constexpr,
                         BLOCKS_IN_GROUP: tl.constexpr, WHOLE: tl.constexpr,
                         BLOCK_SIZE_K: tl.constexpr,
                         BLOCK_SIZE_N: tl.constexpr):  # fmt: skip
    """Words of BITS [K // fields, N] -> W [K, N]; with ORDERED their row k is row order[k] of W."""
    N, stride_wk = whole_vectors(N), whole_vectors(stride_wk)
    stride_qk, stride_sg = whole_vectors(stride_qk), whole_vectors(stride_sg)
    block = tl.program_id(1)
    first_n = tl.program_id(0).to(tl.int64) * BLOCK_SIZE_N
    words, zeros, scales = load_block(
        block, first_n, N, qweight_ptr, scales_ptr, qzeros_ptr, rows_per_group,
        stride_qk, stride_sg, stride_zg, BITS, BLOCKS_IN_GROUP, WHOLE, BLOCK_SIZE_N, BLOCK_SIZE_K,
    )  # fmt: skip
    FIELDS: tl.constexpr = WORD_BITS // BITS
    n = first_n + tl.arange(0, BLOCK_SIZE_N)
    first_rows = block * BLOCK_SIZE_K + tl.arange(0, BLOCK_SIZE_K // FIELDS) * FIELDS
    for field in tl.static_range(FIELDS):
        weights = field_of(
            words, zeros[:, None], scales[:, None], field, BITS, True, w_ptr.dtype.element_ty
        )
        rows = first_rows + field
        if ORDERED:
            rows = tl.load(order_ptr + rows)
        at = w_ptr + rows.to(tl.int64)[None, :] * stride_wk + n[:, None]
        tl.store(at, weights, mask=None if WHOLE else (n < N)[:, None])


@triton.jit(do_not_specialize=["M", "N", "K", "stride_xm", "stride_wk", "stride_om"])
def dense_kernel(x_ptr, w_ptr, out_ptr, M, N, K, stride_xm, stride_wk, stride_om,
                 TRANSPOSED: tl.constexpr, WHOLE: tl.constexpr, BLOCK_SIZE_K: tl.constexpr,
                 BLOCK_SIZE_M: tl.constexpr, BLOCK_SIZE_N: tl.constexpr):  # fmt: skip
    """x [M, K] times W [K, N], which lies as it is or TRANSPOSED. K is whole blocks; with WHOLE so
    is N.
    """
    N, K = whole_vectors(N), whole_vectors(K)
    stride_xm, stride_wk = whole_vectors(stride_xm), whole_vectors(stride_wk)
    stride_om = whole_vectors(stride_om)
    down, across = numbers_of_block(M, N, BLOCK_SIZE_M, BLOCK_SIZE_N, BLOCKS_IN_BAND)
    offs_m = down * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
    n = across.to(tl.int64) * BLOCK_SIZE_N + tl.arange(0, BLOCK_SIZE_N)
    offs_k = tl.arange(0, BLOCK_SIZE_K)
    # Rows past M read others again: a load without a mask is faster, and they are not stored.
    x_at = x_ptr + (offs_m % M).to(tl.int64)[:, None] * stride_xm + offs_k[None, :]
    if TRANSPOSED:
        w_at = w_ptr + offs_k[:, None] + n[None, :] * stride_wk
    else:
        w_at = w_ptr + offs_k.to(tl.int64)[:, None] * stride_wk + n[None, :]
    acc = tl.zeros((BLOCK_SIZE_M, BLOCK_SIZE_N), dtype=tl.float32)
    for _ in range(0, K // BLOCK_SIZE_K):
        w = tl.load(w_at, mask=None if WHOLE else (n < N)[None, :])
        acc = tl.dot(tl.load(x_at), w, acc)
        x_at += BLOCK_SIZE_K
        w_at += BLOCK_SIZE_K if TRANSPOSED else BLOCK_SIZE_K * stride_wk
    inside = (offs_m < M)[:, None] if WHOLE else (offs_m < M)[:, None] & (n < N)[None, :]
    at = out_ptr + offs_m.to(tl.int64)[:, None] * stride_om + n[None, :]
    tl.store(at, acc.to(out_ptr.dtype.element_ty), mask=inside)
