"""Triton kernels for 4-bit weights whose groups are blocks of rows, all of one size.

The weight block is the left operand: [BLOCK_SIZE_N, BLOCK_SIZE_K] times x transposed, so that it
goes from registers into the tensor cores. A program sums a share of K; `add_parts_kernel` adds the
shares in their order, so that the same call gives the same bits.

Two ways to make weights. `many_rows_kernel`: (q - z) * s, rounded once to the dtype of x.
`few_rows_kernel`, float16 only: q - z, exact, whose sum over a block of K is scaled in float32.
The bits of a code alone, read as float16, would be a number too, q * 2**-24, but a subnormal one:
tensor cores align products by the exponents of their operands, and lose ten bits of such sums.
"""

import triton
import triton.language as tl

from .. import packing
from ..triton_matmul import numbers_of_block, whole_vectors

FIELDS = tl.constexpr(8)  # codes in a word
MAXQ = tl.constexpr(15)
ZERO_OFFSET = tl.constexpr(packing.ZERO_OFFSET)
INTERLEAVED = tl.constexpr(32)  # rows of K that few_rows_kernel takes in an order of its own
BLOCKS_IN_BAND = tl.constexpr(8)
SIZES = ["M", "N", "K", "rows_per_group", "stride_qk", "stride_sg", "stride_zg"]


@triton.jit
def halves_of(pairs, dtype: tl.constexpr):
    """int32 -> its low and its high 16 bits, as numbers of `dtype`."""
    low = pairs.to(tl.int16).to(dtype, bitcast=True)
    high = (pairs >> 16).to(tl.int16).to(dtype, bitcast=True)
    return low, high


@triton.jit
def fields_apart(words, OFFSET: tl.constexpr, dtype: tl.constexpr):
    """The eight fields of words, each with the bits of OFFSET added, as numbers of `dtype`."""
    l0, h0 = halves_of((words & 0x000F000F) | OFFSET, dtype)
    l1, h1 = halves_of(((words >> 4) & 0x000F000F) | OFFSET, dtype)
    l2, h2 = halves_of(((words >> 8) & 0x000F000F) | OFFSET, dtype)
    l3, h3 = halves_of(((words >> 12) & 0x000F000F) | OFFSET, dtype)
    return l0, l1, l2, l3, h0, h1, h2, h3


@triton.jit
def codes_in_order(words, OFFSET: tl.constexpr, dtype: tl.constexpr,
                   BLOCK_SIZE_N: tl.constexpr, BLOCK_SIZE_K: tl.constexpr):  # fmt: skip
    """[N, K // 8] words -> [N, K] codes plus OFFSET, in the order of K."""
    f0, f1, f2, f3, f4, f5, f6, f7 = fields_apart(words, OFFSET, dtype)
    even = tl.join(tl.join(f0, f4), tl.join(f2, f6))  # joined last is what changes fastest
    odd = tl.join(tl.join(f1, f5), tl.join(f3, f7))
    return tl.reshape(tl.join(even, odd), (BLOCK_SIZE_N, BLOCK_SIZE_K))


@triton.jit
def codes_interleaved(words, OFFSET: tl.constexpr, dtype: tl.constexpr,
                      BLOCK_SIZE_N: tl.constexpr, BLOCK_SIZE_K: tl.constexpr):  # fmt: skip
    """[N, K // 8] words -> [N, K] codes plus OFFSET, in the order of `interleaved_row`.

    In this order a thread's operand of the tensor cores is made of whole words: nothing moves from
    thread to thread.
    """
    f0, f1, f2, f3, f4, f5, f6, f7 = fields_apart(words, OFFSET, dtype)
    low = tl.join(tl.join(f0, f2), tl.join(f1, f3))
    high = tl.join(tl.join(f4, f6), tl.join(f5, f7))
    codes = tl.reshape(tl.join(low, high), (BLOCK_SIZE_N, BLOCK_SIZE_K // 32, 4, 2, 2, 2))
    return tl.reshape(tl.permute(codes, (0, 1, 3, 4, 2, 5)), (BLOCK_SIZE_N, BLOCK_SIZE_K))


@triton.jit
def interleaved_row(position):
    """The row of K at a position of `codes_interleaved`.

    Of the five bits of a position within 32 rows, 2 and 1 choose one of four words, 0 the half of
    a word, 4 and 3 the field of the half.
    """
    within = position % INTERLEAVED
    word, half, field = within // 2 % 4, within % 2, within // 8
    return position - within + word * FIELDS + half * 4 + field


@triton.jit(do_not_specialize=["K", "stride_xm", "stride_xk"])
def arrange_rows_kernel(x_ptr, out_ptr, order_ptr, K, stride_xm, stride_xk,
                        ORDERED: tl.constexpr, INTERLEAVE: tl.constexpr,
                        BLOCK: tl.constexpr):  # fmt: skip
    """x [M, K] -> out [M, K], its columns in the order of the weights' rows; with INTERLEAVE as
    `few_rows_kernel` wants it.
    """
    m = tl.program_id(0).to(tl.int64)
    positions = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = positions < K
    rows = interleaved_row(positions) if INTERLEAVE else positions
    if ORDERED:
        rows = tl.load(order_ptr + rows, mask=inside, other=0)
    x = tl.load(x_ptr + m * stride_xm + rows.to(tl.int64) * stride_xk, mask=inside, other=0)
    tl.store(out_ptr + m * K + positions, x, mask=inside)


@triton.jit(do_not_specialize=["K", "stride_xm", "stride_xk"])
def sort_columns_kernel(x_ptr, out_ptr, order_ptr, K, stride_xm, stride_xk,
                        ROW: tl.constexpr):  # fmt: skip
    """x [M, K] -> out [M, K] in the order of the weights' rows; ROW, at least K, is a power of 2.

    A row is read as it lies and put in order in shared memory: single halves read from far apart
    would cost the cache a line each.
    """
    m = tl.program_id(0).to(tl.int64)
    k = tl.arange(0, ROW)
    order = tl.load(order_ptr + k, mask=k < K, other=0)
    x = tl.load(x_ptr + m * stride_xm + k.to(tl.int64) * stride_xk, mask=k < K, other=0)
    tl.store(out_ptr + m * K + k, tl.gather(x, order.to(tl.int32), 0), mask=k < K)


@triton.jit
def share_of_program(M, N, K, SPLITS: tl.constexpr, BLOCK_SIZE_K: tl.constexpr,
                     BLOCK_SIZE_M: tl.constexpr, BLOCK_SIZE_N: tl.constexpr):  # fmt: skip
    """First column and rows of x of this program's block; its first block of K, and the end."""
    down, across = numbers_of_block(N, M, BLOCK_SIZE_N, BLOCK_SIZE_M, BLOCKS_IN_BAND)
    first_n = down.to(tl.int64) * BLOCK_SIZE_N
    offs_m = across * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
    blocks = K // BLOCK_SIZE_K
    share = tl.cdiv(blocks, SPLITS)
    first = tl.program_id(1) * share
    return first_n, offs_m, first, tl.minimum(first + share, blocks)


@triton.jit
def load_block(block, first_n, N, qweight_ptr, scales_ptr, qzeros_ptr, rows_per_group,
               stride_qk, stride_sg, stride_zg,
               BLOCKS_IN_GROUP: tl.constexpr, WHOLE: tl.constexpr,
               BLOCK_SIZE_N: tl.constexpr, BLOCK_SIZE_K: tl.constexpr):  # fmt: skip
    """Words [N, K // 8], zero-points [N] int32 and scales [N] of one block of K.

    With WHOLE no block of columns reaches past N. Of BLOCKS_IN_GROUP, 0 stands for many.
    """
    WORDS: tl.constexpr = BLOCK_SIZE_K // 8
    n = tl.arange(0, BLOCK_SIZE_N)
    inside = None if WHOLE else n < N - first_n
    inside_2d = None if WHOLE else inside[:, None]
    rows = (block * WORDS + tl.arange(0, WORDS)).to(tl.int64) * stride_qk
    words = tl.load(qweight_ptr + first_n + rows[None, :] + n[:, None], mask=inside_2d)
    if BLOCKS_IN_GROUP:
        group = tl.cast(block // BLOCKS_IN_GROUP, tl.int64)
    else:
        group = tl.cast(block * BLOCK_SIZE_K // rows_per_group, tl.int64)
    scales = tl.load(scales_ptr + first_n + group * stride_sg + n, mask=inside)
    zero_words = tl.load(
        qzeros_ptr + first_n // FIELDS + group * stride_zg + n // FIELDS, mask=inside
    )
    zeros = ((zero_words >> n % FIELDS * 4) + ZERO_OFFSET) & MAXQ
    return words, zeros, scales


@triton.jit
def store_block(acc, offs_m, first_n, M, N, out_ptr, parts_ptr, WHOLE: tl.constexpr,
                SPLITS: tl.constexpr, BLOCK_SIZE_N: tl.constexpr):  # fmt: skip
    """acc [N, M] to out [M, N]; where K is shared out, to parts [SPLITS, M, N] float32."""
    n = first_n + tl.arange(0, BLOCK_SIZE_N)
    inside = (offs_m < M)[None, :] if WHOLE else (n < N)[:, None] & (offs_m < M)[None, :]
    at = offs_m.to(tl.int64)[None, :] * N + n[:, None]
    if SPLITS == 1:
        tl.store(out_ptr + at, acc.to(out_ptr.dtype.element_ty), mask=inside)
    else:
        part = tl.program_id(1).to(tl.int64) * M * N
        tl.store(parts_ptr + part + at, acc, mask=inside)


@triton.jit(do_not_specialize=SIZES)
def few_rows_kernel(x_ptr, qweight_ptr, scales_ptr, qzeros_ptr, out_ptr, parts_ptr,
                    M, N, K, rows_per_group, stride_qk, stride_sg, stride_zg,
                    SPLITS: tl.constexpr, BLOCK_SIZE_K: tl.constexpr,
                    BLOCKS_IN_GROUP: tl.constexpr, WHOLE: tl.constexpr,
                    OFFSET: tl.constexpr, STAGES: tl.constexpr,
                    BLOCK_SIZE_M: tl.constexpr, BLOCK_SIZE_N: tl.constexpr):  # fmt: skip
    """x [M, K], interleaved by `arrange_rows_kernel`, times W [K, N]; OFFSET as below."""
    dtype = x_ptr.dtype.element_ty
    N, K = whole_vectors(N), whole_vectors(K)
    stride_qk, stride_sg = whole_vectors(stride_qk), whole_vectors(stride_sg)
    first_n, offs_m, first, end = share_of_program(
        M, N, K, SPLITS, BLOCK_SIZE_K, BLOCK_SIZE_M, BLOCK_SIZE_N
    )
    offs_k = tl.arange(0, BLOCK_SIZE_K)
    x_rows = x_ptr + offs_m.to(tl.int64)[None, :] * K
    acc = tl.zeros((BLOCK_SIZE_N, BLOCK_SIZE_M), dtype=tl.float32)
    for block in tl.range(first, end, num_stages=STAGES):
        words, zeros, scales = load_block(
            block, first_n, N, qweight_ptr, scales_ptr, qzeros_ptr, rows_per_group,
            stride_qk, stride_sg, stride_zg, BLOCKS_IN_GROUP, WHOLE, BLOCK_SIZE_N, BLOCK_SIZE_K,
        )  # fmt: skip
        x = tl.load(
            x_rows + (block * BLOCK_SIZE_K + offs_k)[:, None], mask=(offs_m < M)[None, :], other=0
        )
        codes = codes_interleaved(words, OFFSET, dtype, BLOCK_SIZE_N, BLOCK_SIZE_K)
        steps = codes - halves_of(zeros | OFFSET, dtype)[0][:, None]
        acc += tl.dot(steps, x) * scales.to(tl.float32)[:, None]
    store_block(acc, offs_m, first_n, M, N, out_ptr, parts_ptr, WHOLE, SPLITS, BLOCK_SIZE_N)


@triton.jit(do_not_specialize=[*SIZES, "stride_xm"])
def many_rows_kernel(x_ptr, qweight_ptr, scales_ptr, qzeros_ptr, out_ptr, parts_ptr,
                     M, N, K, rows_per_group, stride_xm, stride_qk, stride_sg, stride_zg,
                     SPLITS: tl.constexpr, BLOCK_SIZE_K: tl.constexpr,
                     BLOCKS_IN_GROUP: tl.constexpr, WHOLE: tl.constexpr,
                     OFFSET: tl.constexpr,
                     BLOCK_SIZE_M: tl.constexpr, BLOCK_SIZE_N: tl.constexpr):  # fmt: skip
    """x [M, K] times W [K, N]. The low half of OFFSET is a number of x's dtype, 2**10 or 2**7:

    so large that a code in its last bits adds the code, small enough that q - z is exact.
    """
    dtype = x_ptr.dtype.element_ty
    N, K = whole_vectors(N), whole_vectors(K)
    stride_xm = whole_vectors(stride_xm)
    stride_qk, stride_sg = whole_vectors(stride_qk), whole_vectors(stride_sg)
    first_n, offs_m, first, end = share_of_program(
        M, N, K, SPLITS, BLOCK_SIZE_K, BLOCK_SIZE_M, BLOCK_SIZE_N
    )
    offs_k = tl.arange(0, BLOCK_SIZE_K)
    x_rows = x_ptr + offs_m.to(tl.int64)[None, :] * stride_xm
    acc = tl.zeros((BLOCK_SIZE_N, BLOCK_SIZE_M), dtype=tl.float32)
    for block in tl.range(first, end):
        words, zeros, scales = load_block(
            block, first_n, N, qweight_ptr, scales_ptr, qzeros_ptr, rows_per_group,
            stride_qk, stride_sg, stride_zg, BLOCKS_IN_GROUP, WHOLE, BLOCK_SIZE_N, BLOCK_SIZE_K,
        )  # fmt: skip
        x = tl.load(
            x_rows + (block * BLOCK_SIZE_K + offs_k)[:, None], mask=(offs_m < M)[None, :], other=0
        )
        codes = codes_in_order(words, OFFSET, dtype, BLOCK_SIZE_N, BLOCK_SIZE_K)
        zeros = halves_of(zeros | OFFSET, dtype)[0]
        steps = codes - zeros[:, None]
        if scales.dtype == dtype:  # steps are exact in it, so this rounds once
            weights = steps * scales[:, None]
        else:
            weights = (steps.to(tl.float32) * scales.to(tl.float32)[:, None]).to(dtype)
        acc = tl.dot(weights, x, acc)
    store_block(acc, offs_m, first_n, M, N, out_ptr, parts_ptr, WHOLE, SPLITS, BLOCK_SIZE_N)


@triton.jit(do_not_specialize=["SIZE"])
def add_parts_kernel(parts_ptr, out_ptr, SIZE, SPLITS: tl.constexpr, BLOCK: tl.constexpr):
    """parts [SPLITS, SIZE] float32 -> out [SIZE]: their sum, in order, rounded to its dtype."""
    offs = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    acc = tl.zeros((BLOCK,), dtype=tl.float32)
    for part in tl.static_range(SPLITS):
        acc += tl.load(parts_ptr + part * SIZE.to(tl.int64) + offs, mask=offs < SIZE, other=0)
    tl.store(out_ptr + offs, acc.to(out_ptr.dtype.element_ty), mask=offs < SIZE)
