"""Gluon kernel for Hopper: packed weights times x, by TMA and warpgroup products.

What `kernels.fused_kernel` computes, in its order of rows of K. One warp asks for the words, scales
and zero-points of the next steps, one for the rows of x; each warpgroup multiplies 64 columns of
weights, which go from registers into the tensor cores: a thread of these holds whole words.
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
# Registers of a thread: of those that load, and of a second warpgroup.
LOADER, MULTIPLIER = gl.constexpr(24), gl.constexpr(232)
barrier = gl.barrier if hasattr(gl, "barrier") else gl.thread_barrier  # by version of Triton
# The number 2**mantissa twice in a word: what is put into its last bits, it adds; one; their bits.
FORMATS = {"f16": (0x64006400, 0x3C00, 10), "bf16": (0x43004300, 0x3F80, 7)}
INTEGER = 0x4B000000  # float32 2**23


def _places(bits, dtype):
    """Where a field may stand in a number without being moved: at its end, and beside that."""
    return (0,) if bits == 8 or (bits, dtype) == (4, "bf16") else (0, bits)


def _pairs(word, first, bits, dtype, scale, zeros, scaled):
    """PTX: a word -> pairs of q - z, times the scale where `scaled`; field i beside i + half.

    With a field at place p of a number, the number is 2**mantissa + q 2**p: times 2**-p, less
    2**(mantissa - p) + z, it is q - z, and exact at each step.
    """
    offset, one, mantissa = FORMATS[dtype]
    places, source, code = _places(bits, dtype), word, []
    for i in range(16 // bits):
        to, place = f"${first + i}", i % len(places)
        if (bits, dtype) == (8, "bf16"):  # 8 bits have no room beside 2**7: in float32
            for half, byte in (("l", i), ("h", i + 2)):
                code += [f"prmt.b32 {half}, {word}, {INTEGER}, {0x7650 + byte};"]
                code += [f"sub.rn.f32 {half}, {half}, {zeros[0]};"]
                code += [f"mul.rn.f32 {half}, {half}, {scale};"] * scaled
            code += [f"cvt.rn.bf16x2.f32 {to}, h, l;"]
            continue
        if bits == 8:  # bytes i and i + 2 of the word, each below a byte of the offset
            code += [f"prmt.b32 {to}, {word}, {offset}, {0x7270 + 0x0101 * i};"]
        else:
            if place == 0 and i:
                code, source = [*code, f"shr.u32 l, {word}, {bits * i};"], "l"
            mask = ((2**bits - 1) << places[place]) * 0x00010001
            code += [f"lop3.b32 {to}, {source}, {mask}, {offset}, 0xEA;"]  # (& mask) | offset
        if places[place]:
            down = (one - (places[place] << mantissa)) * 0x00010001
            code += [f"mov.b32 h, {down};", f"fma.rn.{dtype}x2 {to}, {to}, h, {zeros[place]};"]
        else:
            code += [f"sub.rn.{dtype}x2 {to}, {to}, {zeros[place]};"]
        code += [f"mul.rn.{dtype}x2 {to}, {to}, {scale};"] * scaled
    return code


def _two_words(bits, dtype, scaled):
    """PTX. Operands: the pairs of either word, the words, and twice scale, zero, other zero."""
    pairs = 16 // bits
    words = 2 * pairs
    scale, zeros = f"${words + 2}", (f"${words + 4}", f"${words + 6}")
    code = [
        line
        for i in range(2)
        for line in _pairs(f"${words + i}", i * pairs, bits, dtype, scale, zeros, scaled)
    ]
    kind = "f32" if (bits, dtype) == (8, "bf16") else "b32"
    return "\n".join(["{", f".reg .{kind} l, h;", *code, "}"])


CODE = {
    (bits, dtype, scaled): gl.constexpr(_two_words(bits, dtype, scaled))
    for bits in (2, 4, 8)
    for dtype in FORMATS
    for scaled in (False, True)
}


@gluon.constexpr_function
def code_of(bits, dtype, scaled):
    return CODE[bits, "f16" if dtype == gl.float16 else "bf16", scaled]


@gluon.constexpr_function
def constraints_of(bits):
    return ",".join(["=&r"] * (32 // bits) + ["r"] * 8)


@gluon.constexpr_function
def words_layout(W):
    """Words [2, W, 32] of a warpgroup, its columns in two panels.

    Lanes: two bits rows, three the columns 1, 2, 16, which lie in different banks for any four
    rows; warps: columns 8, 32; registers: column 4.
    """
    rows = [[0, 4 << i, 0] for i in range((W // 4).bit_length() - 1)]
    return gl.DistributedLinearLayout(
        reg_bases=[*rows, [0, 0, 4]],
        lane_bases=[[0, 1, 0], [0, 2, 0], [0, 0, 1], [0, 0, 2], [0, 0, 16]],
        warp_bases=[[0, 0, 8], [1, 0, 0]],
        block_bases=[],
        shape=[2, W, PANEL.value],
    )


@gluon.constexpr_function
def columns_layout(shared_by):
    """[1, 64 // shared_by]: what so many of the columns of `words_layout` share."""

    def of(column):
        return [0, column // shared_by]

    return gl.DistributedLinearLayout(
        reg_bases=[of(4)],
        lane_bases=[[0, 0], [0, 0], of(1), of(2), of(16)],
        warp_bases=[of(8), of(32)],
        block_bases=[],
        shape=[1, COLUMNS.value // shared_by],
    )


@gluon.jit
def beside_words(y, SHARED_BY: gl.constexpr, L: gl.constexpr):
    """[1, 64 // SHARED_BY] -> the last five dimensions of words, of one element where alike."""
    y = gl.reshape(y, [1, 1, 1, 2, 2, 2 if SHARED_BY <= 8 else 1, 2 if SHARED_BY <= 4 else 1,
                       4 if SHARED_BY == 1 else 1])  # fmt: skip
    return gl.convert_layout(y, L, assert_trivial=True)


@gluon.jit
def in_order4(f0, f1, f2, f3):
    joined = gl.join(gl.join(f0, f2), gl.join(f1, f3))  # joined last is what changes fastest
    return gl.reshape(joined, [f0.shape[0], 2, 4, 2, 2, 2, 2, 4, 4])


@gluon.jit
def in_order8(f0, f1, f2, f3, f4, f5, f6, f7):
    joined = gl.join(in_order4(f0, f2, f4, f6), in_order4(f1, f3, f5, f7))
    return gl.reshape(joined, [f0.shape[0], 2, 4, 2, 2, 2, 2, 4, 8])


@gluon.jit
def weights_of(words, scales, zeros, BITS: gl.constexpr, SCALED: gl.constexpr,
               BLOCK_SIZE_K: gl.constexpr, LEFT: gl.constexpr):  # fmt: skip
    """Shared memory: words [2, W, 32], scales [1, 64], zero words [1, 64 // fields] -> [64, K].

    The result is a left operand; its rows of K stand in the order of `kernels.interleaved_row`, its
    columns of the weights in that of `columns_in_order`.
    """
    FIELDS: gl.constexpr = 32 // BITS
    U: gl.constexpr = BLOCK_SIZE_K // FIELDS // 8  # pairs of units of four words
    HALF: gl.constexpr = scales.dtype == gl.float16
    IN_FLOAT32: gl.constexpr = BITS == 8 and not HALF
    w = words.load(words_layout(BLOCK_SIZE_K // FIELDS))
    w = gl.reshape(w, [2, U, 2, 4, 2, 2, 2, 4])
    w = gl.permute(w, [1, 2, 3, 0, 4, 5, 6, 7])  # units, word of one; columns 32, 16, 8, 4, 0 - 3
    L: gl.constexpr = w.type.layout
    EACH: gl.constexpr = columns_layout(1)
    s = scales.load(EACH).to(gl.int16, bitcast=True).to(gl.int32)
    s = s << 16 if IN_FLOAT32 else (s & 0xFFFF) * 0x00010001
    s = beside_words(s, 1, L)
    column = beside_words(gl.arange(0, COLUMNS, gl.SliceLayout(0, EACH))[None, :], 1, L)
    z = beside_words(zeros.load(columns_layout(FIELDS)), FIELDS, L)
    z = z.broadcast_to([1, 1, 1, 2, 2, 2, 2, 4])
    z = ((z >> column % FIELDS * BITS) + ZERO_OFFSET) & ((1 << BITS) - 1)
    if IN_FLOAT32:
        z = z | 0x4B000000
        other = z
    else:
        LEAST: gl.constexpr = 0x6400 if HALF else 0x4300
        MANTISSA: gl.constexpr = 10 if HALF else 7
        other = ((z << BITS) | (0x8000 + LEAST - (BITS << MANTISSA))) * 0x00010001
        z = (z | LEAST) * 0x00010001
    s = s.broadcast_to([U, 2, 4, 2, 2, 2, 2, 4])
    z = z.broadcast_to([U, 2, 4, 2, 2, 2, 2, 4])
    other = other.broadcast_to([U, 2, 4, 2, 2, 2, 2, 4])
    ASM: gl.constexpr = code_of(BITS, scales.dtype, SCALED)
    TIED: gl.constexpr = constraints_of(BITS)
    # Of two words, those of units 2 u and 2 u + 1, pair f of the first is elements 2 u and 2 u + 1
    # of f, of the second those of g: the halves of a register are two elements to Triton.
    if BITS == 8:
        f0, f1, g0, g1 = gl.inline_asm_elementwise(
            ASM, TIED, [w, s, z, other], (scales.dtype,) * 4, False, 2
        )
        a = gl.join(gl.join(f0, f1), gl.join(g0, g1))
    elif BITS == 4:
        f0, f1, f2, f3, g0, g1, g2, g3 = gl.inline_asm_elementwise(
            ASM, TIED, [w, s, z, other], (scales.dtype,) * 8, False, 2
        )
        a = gl.join(in_order4(f0, f1, f2, f3), in_order4(g0, g1, g2, g3))
    else:
        f0, f1, f2, f3, f4, f5, f6, f7, g0, g1, g2, g3, g4, g5, g6, g7 = gl.inline_asm_elementwise(
            ASM, TIED, [w, s, z, other], (scales.dtype,) * 16, False, 2
        )
        a = gl.join(
            in_order8(f0, f1, f2, f3, f4, f5, f6, f7), in_order8(g0, g1, g2, g3, g4, g5, g6, g7)
        )
    a = gl.reshape(a, [U, 2, 4, 2, 2, 2, 2, 4, 16 // BITS, 2])
    # Operand: columns 32, 8, 4, 16, 0 - 3; rows of K by pair of units, unit, field, word, half.
    a = gl.reshape(gl.permute(a, [3, 5, 6, 4, 7, 0, 9, 8, 2, 1]), [COLUMNS, BLOCK_SIZE_K])
    return gl.convert_layout(a, LEFT, assert_trivial=True)


@gluon.jit
def columns_in_order(acc):
    """[64, M] by rows of the operand -> by columns of the weights."""
    M: gl.constexpr = acc.shape[1]
    acc = gl.reshape(acc, [2, 2, 2, 2, 4, M])
    return gl.reshape(gl.permute(acc, [0, 3, 1, 2, 4, 5]), [COLUMNS, M])


@gluon.jit
def scales_of_rows(scales, ACC: gl.constexpr):
    """[1, 64] in shared memory -> float32 [64, 1], by rows of the operand."""
    s = gl.reshape(scales.load(columns_layout(1)), [2, 2, 2, 2, 4])
    s = gl.reshape(gl.permute(s, [0, 2, 3, 1, 4]), [COLUMNS])
    s = gl.convert_layout(s, gl.SliceLayout(1, ACC), assert_trivial=True)
    return gl.expand_dims(s.to(gl.float32), 1)


@gluon.jit
def load_weights(descs, smem, block, rows_per_group):
    """A warp: asks for the words, scales and zero-points of all steps."""
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
    """A warp: asks for the rows of x of all steps, once the launch before has written them."""
    x_desc, _, _, _ = descs
    x_smem, _, _, _, full, empty = smem
    first_m, _, first, blocks = block
    STAGES: gl.constexpr = x_smem.shape[0]
    gl.inline_asm_elementwise("griddepcontrol.wait; // $0", "=r", [], gl.int32, False, 1)
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
                 WARPGROUPS: gl.constexpr, BLOCKS_IN_BAND: gl.constexpr):  # fmt: skip
    """x [M, K], its columns arranged, times W of `blocks` blocks of K -> out [M, N].

    N is 8 `N_vectors`; there are at least as many blocks as SHARES. parts and arrived: as for
    `fused_kernel`, but a counter for each warpgroup. Descriptors (TMA): x in blocks
    [BLOCK_SIZE_M, BLOCK_SIZE_K], qweight as panels [columns / 32, words, 32], scales [1, columns],
    qzeros [1, words of the columns, at least 128 bytes].
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
    smem = (x_smem, w_smem, s_smem, z_smem, full, empty)
    descs = (x_desc, w_desc, s_desc, z_desc)
    results = (out_ptr, parts_ptr, arrived_ptr)
    block = (first_m, first_n, first, blocks)
    # One after the other: Gluon builds no such list.
    if WARPGROUPS == 1:
        gl.warp_specialize([
            (multiply_blocks, (smem, results, block, M, N_vectors, SHARES, SCALED, 0)),
            (load_weights, (descs, smem, block, rows_per_group)),
            (load_x, (descs, smem, block)),
        ], [1, 1], [LOADER, LOADER])  # fmt: skip
    else:
        gl.warp_specialize([
            (multiply_blocks, (smem, results, block, M, N_vectors, SHARES, SCALED, 0)),
            (multiply_blocks, (smem, results, block, M, N_vectors, SHARES, SCALED, 1)),
            (load_weights, (descs, smem, block, rows_per_group)),
            (load_x, (descs, smem, block)),
        ], [4, 1, 1], [MULTIPLIER, LOADER, LOADER])  # fmt: skip
