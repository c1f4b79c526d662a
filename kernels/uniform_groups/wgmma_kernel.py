"""Gluon kernel for Hopper: packed weights times x, by TMA and warpgroup products.

One warp asks for the words, scales and zero-points of the next steps, one for the rows of x; each
warpgroup multiplies 64 columns of weights, which go from registers into the tensor cores. The four
threads that share a row of these read the same words and each takes the pairs of codes that it
multiplies, so that x is read as it lies.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)

from .. import packing
from . import wgmma

COLUMNS = gl.constexpr(wgmma.COLUMNS)
PANEL = gl.constexpr(wgmma.PANEL)
ZERO_OFFSET = gl.constexpr(packing.ZERO_OFFSET)
FEW_ROWS = gl.constexpr(64)  # of x: tensor cores wait for weights. With more, these wait for them
LOADER = gl.constexpr(wgmma.LOADER)
barrier = gl.barrier if hasattr(gl, "barrier") else gl.thread_barrier  # by version of Triton
# The number 2**mantissa twice in a word: what is put into its last bits, it adds; one; their bits.
FORMATS = {"f16": (0x64006400, 0x3C00, 10), "bf16": (0x43004300, 0x3F80, 7)}
INTEGER = 0x4B000000  # float32 2**23


@gluon.constexpr_function
def pairs_of_word(bits):
    """Pairs of codes of a word that one of the threads takes."""
    return 2 if bits == 2 else 1


@gluon.constexpr_function
def threads_of_word(bits):
    """Threads that share the codes of a word; of 8 bits, two words are for four threads."""
    return 2 if bits == 8 else 4


@gluon.constexpr_function
def place_of_second(bits, dtype):
    """Where the second code of a pair stands in its number; the first one stands at the end."""
    return bits if bits == 2 or (bits, dtype) == (4, "f16") else 0


@gluon.constexpr_function
def taken_by(bits, dtype):
    """(first, step): how thread `first + step * i` of those that share a word takes its codes.

    For 2 bits a shift, else the bytes that PRMT takes: its own, each below a byte of the offset.
    """
    if bits == 2:
        return 0, 4
    if bits == 8:
        return (0x5150, 0x0202) if dtype == "f16" else (0x7650, 2)
    return (0x5050, 0x0101) if dtype == "f16" else (0x0400, 0x0101)


def _numbers(word, to, taken, bits, dtype):
    """PTX: a word -> pairs of numbers 2**mantissa + q 2**place; registers l and h are free."""
    offset, first = FORMATS[dtype][0], to[0]
    if bits == 4 and dtype == "bf16":  # no room for a place: from the word and the word moved
        lines = [f"shr.u32 h, {word}, 4;", f"prmt.b32 {first}, {word}, h, {taken};"]
        return [*lines, f"lop3.b32 {first}, {first}, {0x000F000F}, {offset}, 0xEA;"]  # (&) |
    if bits == 8:
        return [f"prmt.b32 {first}, {word}, {offset}, {taken};"]
    code = 2**bits - 1
    mask = 0xFF00FF00 | code | code << bits + 16
    if bits == 4:
        lines = [f"prmt.b32 {first}, {word}, {offset}, {taken};"]
    else:
        lines = [f"shr.u32 h, {word}, {taken};"]
        for register, byte in zip(to, (0, 2), strict=True):
            lines += [f"prmt.b32 {register}, h, {offset}, {0x5050 + 0x0101 * byte};"]
    return lines + [f"and.b32 {register}, {register}, {mask};" for register in to]


def _in_float32(word, to, taken, scale, zero, scaled):
    """PTX: two bytes of a word -> bfloat16, which has no room for 8 bits beside 2**7."""
    lines = [f"add.u32 other, {taken}, 1;"]
    for half, byte in (("l", taken), ("h", "other")):
        lines += [f"prmt.b32 {half}, {word}, {INTEGER}, {byte};"]
        lines += [f"sub.rn.f32 {half}, {half}, {zero};"]
        lines += [f"mul.rn.f32 {half}, {half}, {scale};"] * scaled
    return [*lines, f"cvt.rn.bf16x2.f32 {to}, h, l;"]


def _weights(word, to, taken, scale, zero, bits, dtype, scaled):
    """PTX: a word -> pairs of q - z, times the scale where `scaled`.

    2**mantissa + q 2**place, times 2**-place, less 2**(mantissa - place) + z: exact at each step.
    """
    if (bits, dtype) == (8, "bf16"):
        return _in_float32(word, to[0], taken, scale, zero, scaled)
    _, one, mantissa = FORMATS[dtype]
    lines, place = _numbers(word, to, taken, bits, dtype), place_of_second(bits, dtype)
    if place:
        lines += [f"mov.b32 l, {(one - (place << mantissa)) << 16 | one};"]
    for register in to:
        if place:
            lines += [f"fma.rn.{dtype}x2 {register}, {register}, l, {zero};"]
        else:
            lines += [f"sub.rn.{dtype}x2 {register}, {register}, {zero};"]
        lines += [f"mul.rn.{dtype}x2 {register}, {register}, {scale};"] * scaled
    return lines


def _two_words(bits, dtype, scaled):
    """PTX. Operands: the pairs of either word; of each the word, what is taken, scale, zero."""
    pairs = pairs_of_word(bits)
    first = 2 * pairs
    lines = []
    for i in range(2):
        to = [f"${i * pairs + pair}" for pair in range(pairs)]
        given = [f"${first + 2 * operand + i}" for operand in range(4)]
        lines += _weights(given[0], to, *given[1:], bits, dtype, scaled)
    kind = "f32" if (bits, dtype) == (8, "bf16") else "b32"
    return "\n".join(["{", f".reg .{kind} l, h;", ".reg .b32 other;", *lines, "}"])


CODE = {
    (bits, dtype, scaled): gl.constexpr(_two_words(bits, dtype, scaled))
    for bits in (2, 4, 8)
    for dtype in FORMATS
    for scaled in (False, True)
}


@gluon.constexpr_function
def name_of(dtype):
    return "f16" if dtype == gl.float16 else "bf16"


@gluon.constexpr_function
def code_of(bits, dtype, scaled):
    return CODE[bits, name_of(dtype), scaled]


@gluon.constexpr_function
def constraints_of(bits):
    return ",".join(["=&r"] * (2 * pairs_of_word(bits)) + ["r"] * 8)


@gluon.constexpr_function
def words_bases(W, bits):
    """(registers, lanes, warps) of words by bits of (panel, word, column) and of the thread.

    Two bits of the lane are the threads that share words; three are columns 2, 4, 8; warps are
    column 16 and the panel; a register more is the next column.
    """
    words = [(0, 1 << i, 0, 0) for i in range(W.bit_length() - 1)]
    sharing = [(0, 0, 0, 1), words.pop(0) if bits == 8 else (0, 0, 0, 2)]
    columns = [(0, 0, column, 0) for column in (1, 2, 4, 8, 16)]
    return [columns[0], *words], [*sharing, *columns[1:4]], [columns[4], (1, 0, 0, 0)]


@gluon.constexpr_function
def words_layout(W, bits):
    """Words [2, W, 32] of a warpgroup, its columns in two panels."""
    bases = [[list(base[:3]) for base in each] for each in words_bases(W, bits)]
    return gl.DistributedLinearLayout(*bases, block_bases=[], shape=[2, W, PANEL.value])


@gluon.constexpr_function
def codes_layout(W, bits):
    """The same by single bits of the column, and by thread: [2, W, 2, 2, 2, 2, 2, threads]."""

    def by_bits(panel, word, column, thread):
        return [panel, word, *(column >> bit & 1 for bit in (4, 3, 2, 1, 0)), thread]

    bases = [[by_bits(*base) for base in each] for each in words_bases(W, bits)]
    shape = [2, W, 2, 2, 2, 2, 2, threads_of_word(bits)]
    return gl.DistributedLinearLayout(*bases, block_bases=[], shape=shape)


@gluon.constexpr_function
def threads_layout(bits):
    """[threads]: their numbers, of those that share a word."""
    threads = threads_of_word(bits)
    sharing = [[1], [2 % threads]]
    return gl.DistributedLinearLayout([], [*sharing, [0], [0], [0]], [[0], [0]], [], [threads])


@gluon.constexpr_function
def columns_layout(shared_by):
    """[1, 64 // shared_by]: what so many of the columns of `words_layout` share."""

    def of(column):
        return [0, column // shared_by]

    return gl.DistributedLinearLayout(
        reg_bases=[of(1)],
        lane_bases=[[0, 0], [0, 0], of(2), of(4), of(8)],
        warp_bases=[of(16), of(32)],
        block_bases=[],
        shape=[1, COLUMNS.value // shared_by],
    )


@gluon.jit
def beside_words(y, SHARED_BY: gl.constexpr, L: gl.constexpr):
    """[1, 64 // SHARED_BY] -> as `codes_layout`, of one element where all are alike."""
    y = gl.reshape(y, [2, 1, 2, 2 if SHARED_BY <= 8 else 1, 2 if SHARED_BY <= 4 else 1,
                       2 if SHARED_BY == 1 else 1, 2 if SHARED_BY == 1 else 1, 1])  # fmt: skip
    return gl.convert_layout(y, L, assert_trivial=True)


@gluon.jit
def weights_of(words, scales, zeros, BITS: gl.constexpr, SCALED: gl.constexpr,
               BLOCK_SIZE_K: gl.constexpr, LEFT: gl.constexpr):  # fmt: skip
    """Shared memory: words [2, W, 32], scales [1, 64], zero words [1, 64 // fields] -> [64, K].

    The result is a left operand, whose rows are columns of the weights: see `columns_in_order`.
    """
    FIELDS: gl.constexpr = 32 // BITS
    W: gl.constexpr = BLOCK_SIZE_K // FIELDS
    THREADS: gl.constexpr = threads_of_word(BITS)
    DTYPE: gl.constexpr = name_of(scales.dtype)
    IN_FLOAT32: gl.constexpr = BITS == 8 and DTYPE == "bf16"
    L: gl.constexpr = codes_layout(W, BITS)
    EACH: gl.constexpr = columns_layout(1)
    w = words.load(words_layout(W, BITS))
    w = gl.convert_layout(gl.reshape(w, [2, W, 2, 2, 2, 2, 2, 1]), L, assert_trivial=True)
    s = scales.load(EACH).to(gl.int16, bitcast=True).to(gl.int32)
    s = s << 16 if IN_FLOAT32 else (s & 0xFFFF) * 0x00010001
    s = beside_words(s, 1, L)
    column = beside_words(gl.arange(0, COLUMNS, gl.SliceLayout(0, EACH))[None, :], 1, L)
    z = beside_words(zeros.load(columns_layout(FIELDS)), FIELDS, L)
    z = z.broadcast_to([2, 1, 2, 2, 2, 2, 2, 1])
    z = ((z >> column % FIELDS * BITS) + ZERO_OFFSET) & ((1 << BITS) - 1)
    LEAST: gl.constexpr = 0x6400 if DTYPE == "f16" else 0x4300
    MANTISSA: gl.constexpr = 10 if DTYPE == "f16" else 7
    PLACE: gl.constexpr = place_of_second(BITS, DTYPE)
    if IN_FLOAT32:
        z = z | 0x4B000000
    elif PLACE:  # what is added
        z = (z << PLACE | (0x8000 + LEAST - (PLACE << MANTISSA))) << 16 | (z | 0x8000 + LEAST)
    else:
        z = (z | LEAST) * 0x00010001
    FIRST: gl.constexpr = taken_by(BITS, DTYPE)[0]
    STEP: gl.constexpr = taken_by(BITS, DTYPE)[1]
    taken = FIRST + STEP * gl.arange(0, THREADS, threads_layout(BITS))
    taken = gl.reshape(taken, [1, 1, 1, 1, 1, 1, 1, THREADS])
    taken = gl.convert_layout(taken, L, assert_trivial=True)
    w = w.broadcast_to([2, W, 2, 2, 2, 2, 2, THREADS])
    taken = taken.broadcast_to([2, W, 2, 2, 2, 2, 2, THREADS])
    s = s.broadcast_to([2, W, 2, 2, 2, 2, 2, THREADS])
    z = z.broadcast_to([2, W, 2, 2, 2, 2, 2, THREADS])
    ASM: gl.constexpr = code_of(BITS, scales.dtype, SCALED)
    TIED: gl.constexpr = constraints_of(BITS)
    # Of two words, those of columns 2 n and 2 n + 1, the pair of the first is elements 2 n and
    # 2 n + 1 of f, of the second those of g: the halves of a register are two elements to Triton.
    if BITS == 2:
        f0, f1, g0, g1 = gl.inline_asm_elementwise(
            ASM, TIED, [w, taken, s, z], (scales.dtype,) * 4, True, 2
        )
        a = gl.join(gl.join(f0, f1), gl.join(g0, g1))  # rows of K 8 apart, column
        a = gl.permute(a, [0, 2, 9, 3, 4, 5, 1, 8, 7, 6])
    else:
        f, g = gl.inline_asm_elementwise(ASM, TIED, [w, taken, s, z], (scales.dtype,) * 2, True, 2)
        a = gl.permute(gl.join(f, g), [0, 2, 8, 3, 4, 5, 1, 7, 6])
    # Operand: columns 32, 16, 1, 8, 4, 2; rows of K by word, thread, half.
    return gl.convert_layout(gl.reshape(a, [COLUMNS, BLOCK_SIZE_K]), LEFT, assert_trivial=True)


@gluon.jit
def columns_in_order(acc):
    """[64, M] by rows of the operand -> by columns of the weights."""
    M: gl.constexpr = acc.shape[1]
    acc = gl.reshape(acc, [4, 2, 8, M])
    return gl.reshape(gl.permute(acc, [0, 2, 1, 3]), [COLUMNS, M])


@gluon.jit
def scales_of_rows(scales, ACC: gl.constexpr):
    """[1, 64] in shared memory -> float32 [64, 1], by rows of the operand."""
    s = gl.reshape(scales.load(columns_layout(1)), [4, 8, 2])
    s = gl.reshape(gl.permute(s, [0, 2, 1]), [COLUMNS])
    s = gl.convert_layout(s, gl.SliceLayout(1, ACC), assert_trivial=True)
    return gl.expand_dims(s.to(gl.float32), 1)


@gluon.jit
def wait_for_launch_before():
    gl.inline_asm_elementwise("griddepcontrol.wait; // $0", "=r", [], gl.int32, False, 1)


@gluon.jit
def let_next_begin():
    """The next launch may begin where it says so, and wait for this one when it has to."""
    gl.inline_asm_elementwise(
        "griddepcontrol.launch_dependents; // $0", "=r", [], gl.int32, False, 1
    )


@gluon.jit
def load_weights(descs, smem, block, rows_per_group, AFTER_SORT: gl.constexpr):
    """A warp: asks for the words, scales and zero-points of all steps."""
    if not AFTER_SORT:
        wait_for_launch_before()
    _, w_desc, s_desc, z_desc = descs
    x_smem, w_smem, s_smem, z_smem, full, empty = smem
    _, first_n, first, blocks = block
    STAGES: gl.constexpr = x_smem.shape[0]
    BLOCK_SIZE_K: gl.constexpr = x_smem.shape[2]
    WORDS: gl.constexpr = w_smem.shape[2]
    BYTES: gl.constexpr = (
        w_desc.block_type.nbytes + s_desc.block_type.nbytes + z_desc.block_type.nbytes
    )
    for i in range(blocks):
        stage = i % STAGES
        mbarrier.wait(empty.index(stage), ((i // STAGES) & 1) ^ 1)
        arrived = full.index(stage)
        mbarrier.expect(arrived, BYTES)
        word = (first + i) * WORDS
        group = (first + i) * BLOCK_SIZE_K // rows_per_group
        zeros = first_n * WORDS // BLOCK_SIZE_K
        tma.async_copy_global_to_shared(
            w_desc, [first_n // PANEL, word, 0], arrived, w_smem.index(stage)
        )
        tma.async_copy_global_to_shared(s_desc, [group, first_n], arrived, s_smem.index(stage))
        tma.async_copy_global_to_shared(z_desc, [group, zeros], arrived, z_smem.index(stage))


@gluon.jit
def load_x(descs, smem, block):
    """A warp: asks for the rows of x of all steps."""
    wait_for_launch_before()
    x_desc, _, _, _ = descs
    x_smem, _, _, _, full, empty = smem
    first_m, _, first, blocks = block
    STAGES: gl.constexpr = x_smem.shape[0]
    for i in range(blocks):
        stage = i % STAGES
        mbarrier.wait(empty.index(stage), ((i // STAGES) & 1) ^ 1)
        mbarrier.expect(full.index(stage), x_desc.block_type.nbytes)
        k = (first + i) * x_smem.shape[2]
        tma.async_copy_global_to_shared(
            x_desc, [first_m, k], full.index(stage), x_smem.index(stage)
        )


@gluon.jit
def weights_of_stage(smem, stage, SCALED: gl.constexpr, ACC: gl.constexpr,
                     WARPGROUP: gl.constexpr):  # fmt: skip
    """`weights_of` and `scales_of_rows` for the columns of a warpgroup."""
    x_smem, w_smem, s_smem, z_smem, _, _ = smem
    BLOCK_SIZE_K: gl.constexpr = x_smem.shape[2]
    BITS: gl.constexpr = w_smem.shape[2] * 32 // BLOCK_SIZE_K
    LEFT: gl.constexpr = gl.DotOperandLayout(operand_index=0, parent=ACC, k_width=2)
    words = w_smem.index(stage).slice(2 * WARPGROUP, 2, 0)
    scales = s_smem.index(stage).slice(WARPGROUP * COLUMNS, COLUMNS, 1)
    zeros = z_smem.index(stage).slice(WARPGROUP * (2 * BITS), 2 * BITS, 1)
    weights = weights_of(words, scales, zeros, BITS, SCALED, BLOCK_SIZE_K, LEFT)
    return weights, scales_of_rows(scales, ACC)


@gluon.jit
def multiply_block(smem, i, blocks, acc, weights, scales, SCALED: gl.constexpr, ACC: gl.constexpr,
                   WARPGROUP: gl.constexpr):  # fmt: skip
    """acc plus the products of block i, and the weights of the next, made while these run."""
    x_smem, _, _, _, full, empty = smem
    STAGES: gl.constexpr = x_smem.shape[0]
    stage = i % STAGES
    x = x_smem.index(stage).permute((1, 0))
    if SCALED:
        running = warpgroup_mma(weights, x, acc, is_async=True)
    else:
        none = gl.full([COLUMNS, x_smem.shape[1]], 0.0, gl.float32, ACC)
        running = warpgroup_mma(weights, x, none, use_acc=False, is_async=True)
    following = gl.minimum(i + 1, blocks - 1)
    mbarrier.wait(full.index(following % STAGES), (following // STAGES) & 1)
    following, next_scales = weights_of_stage(smem, following % STAGES, SCALED, ACC, WARPGROUP)
    product, weights = warpgroup_mma_wait(0, deps=[running, weights])
    mbarrier.arrive(empty.index(stage))  # not before: they read x there
    return product if SCALED else acc + product * scales, following, next_scales


@gluon.jit
def multiply_blocks(smem, results, block, M, N_vectors, SHARES: gl.constexpr, SCALED: gl.constexpr,
                    WARPGROUP: gl.constexpr):  # fmt: skip
    """A warpgroup: 64 columns of the block of the output."""
    x_smem, w_smem, _, _, full, _ = smem
    out_ptr, parts_ptr, arrived_ptr = results
    first_m, first_n, _, blocks = block
    BLOCK_SIZE_M: gl.constexpr = x_smem.shape[1]
    ACC: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_SIZE_M, 16])
    acc = gl.full([COLUMNS, BLOCK_SIZE_M], 0.0, gl.float32, ACC)
    mbarrier.wait(full.index(0), 0)
    weights, scales = weights_of_stage(smem, 0, SCALED, ACC, WARPGROUP)
    if BLOCK_SIZE_M <= FEW_ROWS:
        # Two at a time: so the weights of one are not made in registers that products read, and it
        # can begin before these end.
        for pair in range(blocks // 2):
            acc, others, scales_of_others = multiply_block(
                smem, 2 * pair, blocks, acc, weights, scales, SCALED, ACC, WARPGROUP
            )
            acc, weights, scales = multiply_block(
                smem, 2 * pair + 1, blocks, acc, others, scales_of_others, SCALED, ACC, WARPGROUP
            )
        if blocks % 2:
            acc, weights, scales = multiply_block(
                smem, blocks - 1, blocks, acc, weights, scales, SCALED, ACC, WARPGROUP
            )
    else:
        for i in range(blocks):
            acc, weights, scales = multiply_block(
                smem, i, blocks, acc, weights, scales, SCALED, ACC, WARPGROUP
            )
    ROWS: gl.constexpr = gl.BlockedLayout([8, 1], [8, 4], [1, 4], [0, 1])
    N = N_vectors * 8  # so that the compiler sees whole vectors
    m = first_m + gl.arange(0, BLOCK_SIZE_M, gl.SliceLayout(0, ROWS))
    n = first_n + WARPGROUP * COLUMNS + gl.arange(0, COLUMNS, gl.SliceLayout(1, ROWS))
    inside = (m < M)[None, :] & (n < N)[:, None]
    to = m.to(gl.int64)[None, :] * N + n[:, None]
    acc = columns_in_order(acc)
    if SHARES == 1:
        out = gl.convert_layout(acc.to(out_ptr.dtype.element_ty), ROWS)
        gl.store(out_ptr + to, out, mask=inside)
    else:
        share, part = gl.program_id(1), M.to(gl.int64) * N
        acc = gl.convert_layout(acc, ROWS)
        gl.store(parts_ptr + share * part + to, acc, mask=inside)
        barrier()  # all threads have stored before one says so
        counter = arrived_ptr + gl.program_id(0) * (w_smem.shape[1] // 2) + WARPGROUP
        if gl.atomic_add(counter, 1, sem="acq_rel") == SHARES - 1:
            total = gl.full([COLUMNS, BLOCK_SIZE_M], 0.0, gl.float32, ROWS)
            for number in gl.static_range(SHARES):
                # From L2: the first-level cache may hold what lay there before.
                total += gl.load(
                    parts_ptr + number * part + to, mask=inside, other=0, cache_modifier=".cg"
                )
            gl.store(out_ptr + to, total.to(out_ptr.dtype.element_ty), mask=inside)
            gl.store(counter, 0)


@gluon.jit(do_not_specialize=["M", "N_vectors", "blocks", "rows_per_group"])
def wgmma_kernel(x_desc, w_desc, s_desc, z_desc, out_ptr, parts_ptr, arrived_ptr,
                 M, N_vectors, blocks, rows_per_group,
                 BITS: gl.constexpr, SHARES: gl.constexpr, SCALED: gl.constexpr,
                 BLOCK_SIZE_M: gl.constexpr, BLOCK_SIZE_K: gl.constexpr, STAGES: gl.constexpr,
                 WARPGROUPS: gl.constexpr, BLOCKS_IN_BAND: gl.constexpr,
                 MULTIPLIER: gl.constexpr, AFTER_SORT: gl.constexpr):  # fmt: skip
    """x [M, K], its columns sorted by group, times W of `blocks` blocks of K -> out [M, N].

    N is 8 `N_vectors`; there are at least as many blocks as SHARES. parts and arrived: as for
    `fused_kernel`, but a counter for each warpgroup. Descriptors (TMA): x in blocks
    [BLOCK_SIZE_M, BLOCK_SIZE_K], qweight as panels [columns / 32, words, 32], scales [1, columns],
    qzeros [1, words of the columns, at least 128 bytes].

    It begins while the launch before still runs, and reads nothing before that has ended. With
    AFTER_SORT that launch is one of ours, which writes x alone: weights are asked for meanwhile.
    MULTIPLIER: registers of a thread of a second warpgroup.
    """
    FIELDS: gl.constexpr = 32 // BITS
    WORDS: gl.constexpr = BLOCK_SIZE_K // FIELDS
    dtype: gl.constexpr = x_desc.dtype
    down = gl.cdiv(M, BLOCK_SIZE_M)
    across = gl.cdiv(N_vectors * 8, WARPGROUPS * COLUMNS)
    # As numbers_of_block of the general kernel: bands of blocks that read the same.
    number = gl.program_id(0)
    first_of_band = number // (BLOCKS_IN_BAND * across) * BLOCKS_IN_BAND
    height = gl.minimum(down - first_of_band, BLOCKS_IN_BAND)
    within = number - first_of_band * across
    first_m = (first_of_band + within % height) * BLOCK_SIZE_M
    first_n = within // height * (WARPGROUPS * COLUMNS)
    first = gl.program_id(1) * blocks // SHARES
    blocks = (gl.program_id(1) + 1) * blocks // SHARES - first  # at least one: who waits, waits
    x_smem = gl.allocate_shared_memory(dtype, [STAGES, BLOCK_SIZE_M, BLOCK_SIZE_K], x_desc.layout)
    w_smem = gl.allocate_shared_memory(gl.int32, [STAGES, 2 * WARPGROUPS, WORDS, PANEL],
                                       w_desc.layout)  # fmt: skip
    s_smem = gl.allocate_shared_memory(dtype, [STAGES, 1, WARPGROUPS * COLUMNS], s_desc.layout)
    z_smem = gl.allocate_shared_memory(gl.int32, [STAGES, 1, z_desc.block_shape[1]], z_desc.layout)
    full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(STAGES):
        mbarrier.init(full.index(i), count=2)  # weights and x
        mbarrier.init(empty.index(i), count=WARPGROUPS)
    fence_async_shared()
    let_next_begin()
    smem = (x_smem, w_smem, s_smem, z_smem, full, empty)
    descs = (x_desc, w_desc, s_desc, z_desc)
    results = (out_ptr, parts_ptr, arrived_ptr)
    block = (first_m, first_n, first, blocks)
    # One after the other: Gluon builds no such list.
    if WARPGROUPS == 1:
        gl.warp_specialize([
            (multiply_blocks, (smem, results, block, M, N_vectors, SHARES, SCALED, 0)),
            (load_weights, (descs, smem, block, rows_per_group, AFTER_SORT)),
            (load_x, (descs, smem, block)),
        ], [1, 1], [LOADER, LOADER])  # fmt: skip
    else:
        gl.warp_specialize([
            (multiply_blocks, (smem, results, block, M, N_vectors, SHARES, SCALED, 0)),
            (multiply_blocks, (smem, results, block, M, N_vectors, SHARES, SCALED, 1)),
            (load_weights, (descs, smem, block, rows_per_group, AFTER_SORT)),
            (load_x, (descs, smem, block)),
        ], [4, 1, 1], [MULTIPLIER, LOADER, LOADER])  # fmt: skip
