"""Triton kernels for packed weights whose groups are blocks of rows, all of one size.

The weight block is the left operand: [BLOCK_SIZE_N, BLOCK_SIZE_K] times x transposed, so that it
goes from registers into the tensor cores. Rows of K are taken in an order (`interleaved_row`) in
which a thread's operand is made of whole words: no weight moves from thread to thread. A program
sums a share of K; the last one of a block to arrive adds the shares in their order, so that the
same call gives the same bits.

Weights are SCALED, (q - z) * s rounded once to the dtype of x, or they are q - z, exact, whose sum
over a block of K is scaled in float32: the better for few rows, which have few sums to scale.
"""

import triton
import triton.language as tl

from .. import packing
from ..interpreter import INTERPRETED
from ..triton_matmul import numbers_of_block, whole_vectors
from . import plan

WORD_BITS = tl.constexpr(32)
# Words of a column whose rows are taken in an order of their own.
WORDS_OF_A_UNIT = tl.constexpr(plan.WORDS_OF_A_UNIT)
ZERO_OFFSET = tl.constexpr(packing.ZERO_OFFSET)
BLOCKS_IN_BAND = tl.constexpr(8)
INTEGER = tl.constexpr(0x4B000000)  # float32 2**23: what is added to its last bits, it adds
SIZES = ["M", "N", "K", "rows_per_group", "stride_xm", "stride_qk", "stride_sg", "stride_zg"]
# The same in 16 bits: 2**10 and 2**7, twice in a word.
OFFSET_OF = {"f16": 0x64006400, "bf16": 0x43004300}
HALF_OFFSET, BRAIN_OFFSET = tl.constexpr(OFFSET_OF["f16"]), tl.constexpr(OFFSET_OF["bf16"])


def _pairs(bits, dtype, scaled):
    """PTX: a word -> pairs of q - z, times the scale where `scaled`; field i beside i + half.

    Operands: the pairs, the word, the zero-point with the offset, twice, and the scale, twice. What
    the compiler makes of the same in single halves takes it half as many instructions again.
    """
    pairs = 16 // bits
    word, zero, scale = (f"${pairs + i}" for i in range(3))
    mask, offset, code = (2**bits - 1) * 0x00010001, OFFSET_OF[dtype], ["{", ".reg .b32 t;"]
    for i in range(pairs):
        if bits == 8:  # bytes i and i + 2 of the word, each below a byte of the offset
            code += [f"prmt.b32 ${i}, {word}, {offset}, {0x7270 + 0x0101 * i};"]
        else:
            code += [f"shr.u32 t, {word}, {bits * i};"]
            code += [f"lop3.b32 ${i}, t, {mask}, {offset}, 0xEA;"]  # (t & mask) | offset
        code += [f"sub.rn.{dtype}x2 ${i}, ${i}, {zero};"]
        code += [f"mul.rn.{dtype}x2 ${i}, ${i}, {scale};"] * scaled
    return tl.constexpr("\n".join([*code, "}"]))


def _operands(bits, scaled):
    return tl.constexpr(",".join(["=&r"] * (16 // bits) + ["r"] * (2 + scaled)))


HALF2, HALF4, HALF8 = (_pairs(bits, "f16", False) for bits in (2, 4, 8))
HALF2_SCALED, HALF4_SCALED, HALF8_SCALED = (_pairs(bits, "f16", True) for bits in (2, 4, 8))
BRAIN2, BRAIN4 = (_pairs(bits, "bf16", False) for bits in (2, 4))
BRAIN2_SCALED, BRAIN4_SCALED = (_pairs(bits, "bf16", True) for bits in (2, 4))
OPERANDS2, OPERANDS4, OPERANDS8 = (_operands(bits, False) for bits in (2, 4, 8))
OPERANDS2_SCALED, OPERANDS4_SCALED, OPERANDS8_SCALED = (_operands(bits, True) for bits in (2, 4, 8))


@triton.jit
def field_of(words, zeros, scales, FIELD: tl.constexpr, BITS: tl.constexpr, SCALED: tl.constexpr,
             dtype: tl.constexpr):  # fmt: skip
    """q - z, exact, of one field of words; times s, rounded once to `dtype`, where SCALED."""
    codes = (words >> FIELD * BITS) & ((1 << BITS) - 1)
    steps = (codes | INTEGER).to(tl.float32, bitcast=True) - (zeros | INTEGER).to(
        tl.float32, bitcast=True
    )
    return (steps * scales.to(tl.float32) if SCALED else steps).to(dtype)


@triton.jit
def joined(words, zeros, scales, FIRST: tl.constexpr, BITS: tl.constexpr, SCALED: tl.constexpr,
           dtype: tl.constexpr):  # fmt: skip
    """[N, W] words -> [N, W, fields of half a word], from field FIRST on, in their order."""
    if BITS == 8:
        f0 = field_of(words, zeros, scales, FIRST, BITS, SCALED, dtype)
        f1 = field_of(words, zeros, scales, FIRST + 1, BITS, SCALED, dtype)
        return tl.join(f0, f1)
    elif BITS == 4:
        f0 = field_of(words, zeros, scales, FIRST, BITS, SCALED, dtype)
        f1 = field_of(words, zeros, scales, FIRST + 1, BITS, SCALED, dtype)
        f2 = field_of(words, zeros, scales, FIRST + 2, BITS, SCALED, dtype)
        f3 = field_of(words, zeros, scales, FIRST + 3, BITS, SCALED, dtype)
        return in_order4(f0, f1, f2, f3)
    else:
        f0 = field_of(words, zeros, scales, FIRST, BITS, SCALED, dtype)
        f1 = field_of(words, zeros, scales, FIRST + 1, BITS, SCALED, dtype)
        f2 = field_of(words, zeros, scales, FIRST + 2, BITS, SCALED, dtype)
        f3 = field_of(words, zeros, scales, FIRST + 3, BITS, SCALED, dtype)
        f4 = field_of(words, zeros, scales, FIRST + 4, BITS, SCALED, dtype)
        f5 = field_of(words, zeros, scales, FIRST + 5, BITS, SCALED, dtype)
        f6 = field_of(words, zeros, scales, FIRST + 6, BITS, SCALED, dtype)
        f7 = field_of(words, zeros, scales, FIRST + 7, BITS, SCALED, dtype)
        return in_order8(f0, f1, f2, f3, f4, f5, f6, f7)


@triton.jit
def in_order4(f0, f1, f2, f3):
    return flat(tl.join(tl.join(f0, f2), tl.join(f1, f3)))  # joined last is what changes fastest


@triton.jit
def in_order8(f0, f1, f2, f3, f4, f5, f6, f7):
    even, odd = tl.join(tl.join(f0, f4), tl.join(f2, f6)), tl.join(tl.join(f1, f5), tl.join(f3, f7))
    return flat(tl.join(even, odd))


@triton.jit
def flat(fields):
    """[N, W, 2, ...] -> [N, W, fields]"""
    N: tl.constexpr = fields.shape[0]
    W: tl.constexpr = fields.shape[1]
    return tl.reshape(fields, (N, W, fields.numel // (N * W)))


@triton.jit
def pairs_of(words, zeros, scales, BITS: tl.constexpr, SCALED: tl.constexpr,
             dtype: tl.constexpr):  # fmt: skip
    """[N, W] words -> [N, W, fields of half a word] int32: `joined` of both halves, by PTX."""
    OFFSET: tl.constexpr = HALF_OFFSET if dtype == tl.float16 else BRAIN_OFFSET
    z, _ = tl.broadcast((zeros * 0x00010001) | OFFSET, words)
    if SCALED:  # else they are of any dtype
        s, _ = tl.broadcast(scales.to(tl.int16, bitcast=True).to(tl.int32) & 0xFFFF, words)
        s = s * 0x00010001
    HALF: tl.constexpr = dtype == tl.float16
    if BITS == 8:
        if SCALED:
            p0, p1 = tl.inline_asm_elementwise(
                HALF8_SCALED, OPERANDS8_SCALED, [words, z, s], (tl.int32,) * 2, True, 1
            )
        else:
            p0, p1 = tl.inline_asm_elementwise(
                HALF8, OPERANDS8, [words, z], (tl.int32,) * 2, True, 1
            )
        return tl.join(p0, p1)
    elif BITS == 4:
        if SCALED:
            CODE: tl.constexpr = HALF4_SCALED if HALF else BRAIN4_SCALED
            p0, p1, p2, p3 = tl.inline_asm_elementwise(
                CODE, OPERANDS4_SCALED, [words, z, s], (tl.int32,) * 4, True, 1
            )
        else:
            PLAIN: tl.constexpr = HALF4 if HALF else BRAIN4
            p0, p1, p2, p3 = tl.inline_asm_elementwise(
                PLAIN, OPERANDS4, [words, z], (tl.int32,) * 4, True, 1
            )
        return in_order4(p0, p1, p2, p3)
    else:
        if SCALED:
            CODE: tl.constexpr = HALF2_SCALED if HALF else BRAIN2_SCALED
            p0, p1, p2, p3, p4, p5, p6, p7 = tl.inline_asm_elementwise(
                CODE, OPERANDS2_SCALED, [words, z, s], (tl.int32,) * 8, True, 1
            )
        else:
            PLAIN: tl.constexpr = HALF2 if HALF else BRAIN2
            p0, p1, p2, p3, p4, p5, p6, p7 = tl.inline_asm_elementwise(
                PLAIN, OPERANDS2, [words, z], (tl.int32,) * 8, True, 1
            )
        return in_order8(p0, p1, p2, p3, p4, p5, p6, p7)


@triton.jit
def halves_of(pairs, dtype: tl.constexpr):
    """int32 -> its low and its high 16 bits, as numbers of `dtype`."""
    low = pairs.to(tl.int16).to(dtype, bitcast=True)
    high = (pairs >> 16).to(tl.int16).to(dtype, bitcast=True)
    return low, high


@triton.jit
def weights_of(words, zeros, scales, BITS: tl.constexpr, SCALED: tl.constexpr, dtype: tl.constexpr,
               BLOCK_SIZE_N: tl.constexpr, BLOCK_SIZE_K: tl.constexpr):  # fmt: skip
    """[N, W] words, zeros and scales [N] -> weights [N, K] in the order of `interleaved_row`."""
    FIELDS: tl.constexpr = WORD_BITS // BITS
    zeros, scales = zeros[:, None], scales[:, None]
    # 8 bits have no room beside bfloat16's 2**7, and scales of another dtype want float32.
    FIT: tl.constexpr = BITS < 8 or dtype == tl.float16
    if not INTERPRETED and FIT and (scales.dtype == dtype or not SCALED):
        low, high = halves_of(pairs_of(words, zeros, scales, BITS, SCALED, dtype), dtype)
    else:
        low = joined(words, zeros, scales, 0, BITS, SCALED, dtype)
        high = joined(words, zeros, scales, FIELDS // 2, BITS, SCALED, dtype)
    UNITS: tl.constexpr = BLOCK_SIZE_K // (WORDS_OF_A_UNIT * FIELDS)
    weights = tl.reshape(tl.join(low, high), (BLOCK_SIZE_N, UNITS, WORDS_OF_A_UNIT, FIELDS // 2, 2))
    return tl.reshape(tl.permute(weights, (0, 1, 3, 2, 4)), (BLOCK_SIZE_N, BLOCK_SIZE_K))


@triton.jit
def interleaved_row(position, FIELDS: tl.constexpr):
    """The row of K at a position of `weights_of`, for words of so many fields.

    Within a unit, bits 2 and 1 of a position choose one of four words, 0 the half of the word,
    those above the field of the half.
    """
    within = position % (WORDS_OF_A_UNIT * FIELDS)
    word, half, field = within // 2 % WORDS_OF_A_UNIT, within % 2, within // (2 * WORDS_OF_A_UNIT)
    return position - within + word * FIELDS + half * (FIELDS // 2) + field


@triton.jit
def interleave(x, FIELDS: tl.constexpr, BLOCK_SIZE_K: tl.constexpr, BLOCK_SIZE_M: tl.constexpr):
    """x [K, M] as it lies -> in the order of `interleaved_row`."""
    UNITS: tl.constexpr = BLOCK_SIZE_K // (WORDS_OF_A_UNIT * FIELDS)
    x = tl.reshape(x, (UNITS, WORDS_OF_A_UNIT, 2, FIELDS // 2, BLOCK_SIZE_M))
    return tl.reshape(tl.permute(x, (0, 3, 1, 2, 4)), (BLOCK_SIZE_K, BLOCK_SIZE_M))


@triton.jit
def let_next_begin():
    """The next launch may begin where it says so, and wait for this one when it has to."""
    if not INTERPRETED:
        tl.extra.cuda.gdc_launch_dependents()


@triton.jit(do_not_specialize=["K", "stride_xm", "stride_xk"])
def arrange_rows_kernel(x_ptr, out_ptr, order_ptr, K, stride_xm, stride_xk,
                        ORDERED: tl.constexpr, FIELDS: tl.constexpr,
                        BLOCK: tl.constexpr):  # fmt: skip
    """x [M, K] -> out [M, K], its columns in the order of the weights' rows; with FIELDS, those of
    a word, as `fused_kernel` wants it.
    """
    let_next_begin()
    m = tl.program_id(0).to(tl.int64)
    positions = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = positions < K
    rows = interleaved_row(positions, FIELDS) if FIELDS else positions
    if ORDERED:
        rows = tl.load(order_ptr + rows, mask=inside, other=0)
    x = tl.load(x_ptr + m * stride_xm + rows.to(tl.int64) * stride_xk, mask=inside, other=0)
    tl.store(out_ptr + m * K + positions, x, mask=inside)


@triton.jit(do_not_specialize=["M", "K", "stride_xm"])
def interleave_rows_kernel(x_ptr, out_ptr, M, K, stride_xm, FIELDS: tl.constexpr,
                           BLOCK_SIZE_M: tl.constexpr, BLOCK_SIZE_K: tl.constexpr):  # fmt: skip
    """x [M, K], its rows whole vectors, -> out [M, K] in the order of `interleaved_row`."""
    let_next_begin()
    K, stride_xm = whole_vectors(K), whole_vectors(stride_xm)
    m = tl.program_id(0) * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
    k = tl.program_id(1) * BLOCK_SIZE_K + tl.arange(0, BLOCK_SIZE_K)
    inside = (m < M)[:, None] & (k < K)[None, :]
    m = m.to(tl.int64)[:, None]
    x = tl.load(x_ptr + m * stride_xm + k[None, :], mask=inside, other=0)
    arranged = tl.trans(interleave(tl.trans(x), FIELDS, BLOCK_SIZE_K, BLOCK_SIZE_M))
    tl.store(out_ptr + m * K + k[None, :], arranged, mask=inside)


@triton.jit(do_not_specialize=["K", "stride_xm", "stride_xk"])
def sort_columns_kernel(x_ptr, out_ptr, order_ptr, K, stride_xm, stride_xk, FIELDS: tl.constexpr,
                        ROW: tl.constexpr):  # fmt: skip
    """The same, always ordered; ROW, at least K, is a power of 2.

    A row is read as it lies and put in order in shared memory: single halves read from far apart
    would cost the cache a line each.
    """
    let_next_begin()
    m = tl.program_id(0).to(tl.int64)
    k = tl.arange(0, ROW)
    rows = interleaved_row(k, FIELDS) if FIELDS else k
    order = tl.load(order_ptr + rows, mask=k < K, other=0)
    x = tl.load(x_ptr + m * stride_xm + k.to(tl.int64) * stride_xk, mask=k < K, other=0)
    tl.store(out_ptr + m * K + k, tl.gather(x, order.to(tl.int32), 0), mask=k < K)


@triton.jit
def load_block(block, first_n, N, qweight_ptr, scales_ptr, qzeros_ptr, rows_per_group,
               stride_qk, stride_sg, stride_zg, BITS: tl.constexpr,
               BLOCKS_IN_GROUP: tl.constexpr, WHOLE: tl.constexpr,
               BLOCK_SIZE_N: tl.constexpr, BLOCK_SIZE_K: tl.constexpr):  # fmt: skip
    """Words [N, W], zero-points [N] int32 and scales [N] of one block of K.

    With WHOLE no block of columns reaches past N. Of BLOCKS_IN_GROUP, 0 stands for many.
    """
    FIELDS: tl.constexpr = WORD_BITS // BITS
    WORDS: tl.constexpr = BLOCK_SIZE_K // FIELDS
    n = tl.arange(0, BLOCK_SIZE_N)
    inside = None if WHOLE else n < N - first_n
    inside_2d = None if WHOLE else inside[:, None]
    # What depends on the block alone is one number: pointers of a thread differ from it by what
    # stays the same.
    rows = tl.arange(0, WORDS).to(tl.int64)[None, :] * stride_qk
    first_word = qweight_ptr + first_n + tl.cast(block, tl.int64) * WORDS * stride_qk
    words = tl.load(first_word + (rows + n[:, None]), mask=inside_2d)
    if BLOCKS_IN_GROUP:
        group = tl.cast(block // BLOCKS_IN_GROUP, tl.int64)
    else:
        group = tl.cast(block * BLOCK_SIZE_K // rows_per_group, tl.int64)
    scales = tl.load(scales_ptr + first_n + group * stride_sg + n, mask=inside)
    zero_words = tl.load(
        qzeros_ptr + first_n // FIELDS + group * stride_zg + n // FIELDS, mask=inside
    )
    zeros = ((zero_words >> n % FIELDS * BITS) + ZERO_OFFSET) & ((1 << BITS) - 1)
    return words, zeros, scales


@triton.jit(do_not_specialize=SIZES)
def fused_kernel(x_ptr, qweight_ptr, scales_ptr, qzeros_ptr, out_ptr, parts_ptr, arrived_ptr,
                 M, N, K, rows_per_group, stride_xm, stride_qk, stride_sg, stride_zg,
                 BITS: tl.constexpr, SHARES: tl.constexpr, BLOCK_SIZE_K: tl.constexpr,
                 BLOCKS_IN_GROUP: tl.constexpr, WHOLE: tl.constexpr, ARRANGED: tl.constexpr,
                 SCALED: tl.constexpr, STAGES: tl.constexpr,
                 BLOCK_SIZE_M: tl.constexpr, BLOCK_SIZE_N: tl.constexpr):  # fmt: skip
    """x [M, K], as it lies or ARRANGED by `arrange_rows_kernel`, times W -> out [M, N].

    parts [SHARES, M, N] float32 holds what the shares of K sum up to; arrived [blocks of out], for
    more than one share, counts them: zeros before and after.
    """
    dtype = x_ptr.dtype.element_ty
    N, K = whole_vectors(N), whole_vectors(K)
    stride_xm = whole_vectors(stride_xm)
    stride_qk, stride_sg = whole_vectors(stride_qk), whole_vectors(stride_sg)
    down, across = numbers_of_block(N, M, BLOCK_SIZE_N, BLOCK_SIZE_M, BLOCKS_IN_BAND)
    first_n = down.to(tl.int64) * BLOCK_SIZE_N
    offs_m = across * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
    blocks = K // BLOCK_SIZE_K
    share = tl.cdiv(blocks, SHARES)
    first = tl.program_id(1) * share
    end = tl.minimum(first + share, blocks)
    offs_k = tl.arange(0, BLOCK_SIZE_K)
    x_rows = offs_m.to(tl.int64)[None, :] * stride_xm + offs_k[:, None]
    in_m = (offs_m < M)[None, :]
    acc = tl.zeros((BLOCK_SIZE_N, BLOCK_SIZE_M), dtype=tl.float32)
    for block in tl.range(first, end, num_stages=STAGES):
        words, zeros, scales = load_block(
            block, first_n, N, qweight_ptr, scales_ptr, qzeros_ptr, rows_per_group,
            stride_qk, stride_sg, stride_zg, BITS, BLOCKS_IN_GROUP, WHOLE,
            BLOCK_SIZE_N, BLOCK_SIZE_K,
        )  # fmt: skip
        x = tl.load(x_ptr + block * BLOCK_SIZE_K + x_rows, mask=in_m, other=0)
        if not ARRANGED:
            x = interleave(x, WORD_BITS // BITS, BLOCK_SIZE_K, BLOCK_SIZE_M)
        weights = weights_of(words, zeros, scales, BITS, SCALED, dtype, BLOCK_SIZE_N, BLOCK_SIZE_K)
        if SCALED:
            acc = tl.dot(weights, x, acc)
        else:
            acc += tl.dot(weights, x) * scales.to(tl.float32)[:, None]
    n = first_n + tl.arange(0, BLOCK_SIZE_N)
    inside = in_m if WHOLE else (n < N)[:, None] & in_m
    at = offs_m.to(tl.int64)[None, :] * N + n[:, None]
    if SHARES == 1:
        tl.store(out_ptr + at, acc.to(out_ptr.dtype.element_ty), mask=inside)
    else:
        part = tl.cast(M, tl.int64) * N
        tl.store(parts_ptr + tl.program_id(1) * part + at, acc, mask=inside)
        tl.debug_barrier()  # all threads have stored before one says so
        if tl.atomic_add(arrived_ptr + tl.program_id(0), 1, sem="acq_rel") == SHARES - 1:
            total = tl.zeros((BLOCK_SIZE_N, BLOCK_SIZE_M), dtype=tl.float32)
            for number in tl.static_range(SHARES):
                # From L2: the first-level cache may hold what lay there before.
                total += tl.load(
                    parts_ptr + number * part + at, mask=inside, other=0, cache_modifier=".cg"
                )
            tl.store(out_ptr + at, total.to(out_ptr.dtype.element_ty), mask=inside)
            tl.store(arrived_ptr + tl.program_id(0), 0)
