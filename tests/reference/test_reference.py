"""The reference itself: words and weights worked out by hand, then every value both ways."""

import pytest
import torch

from reference.matmul import dequantize, gradient, matmul
from reference.packing import fields_in_words, pack_rows, pack_zeros, unpack_rows, unpack_zeros

FORMATS = ("v1", "v2")
ALL_BITS = range(1, 9)

# Field 0 in the low bits, so a hexadecimal literal reads the codes from right to left.
WORDS = [
    # one hexadecimal digit a code
    (4, [0, 1, 2, 3, 4, 5, 6, 7], 0x76543210),
    # the top bit is set: 0xFEDCBA98 - 2^32 = -(0x01234568)
    (4, [8, 9, 10, 11, 12, 13, 14, 15], -0x01234568),
    (4, [15] * 8, -1),
    # 0x80000000 as a signed word
    (4, [0] * 7 + [8], -(2**31)),
    # two hexadecimal digits a code
    (8, [0x78, 0x56, 0x34, 0x12], 0x12345678),
    # 0xFF000001 - 2^32 = -(0x00FFFFFF)
    (8, [1, 0, 0, 255], -0x00FFFFFF),
    # 3 2 1 0 from high to low is 0b11100100 = 0xE4 a byte; 0xE4E4E4E4 - 2^32 = -(0x1B1B1B1C)
    (2, [0, 1, 2, 3] * 4, -0x1B1B1B1C),
    # 1 2 3 0 from low to high is 0b00111001 = 0x39 a byte
    (2, [1, 2, 3, 0] * 4, 0x39393939),
    # Octal digits, the first code on the right; three words of 32 bits hold 32 of them: code 10 has
    # two bits in the first and one in the second, code 21 one in the second and two in the third
    (3, [7] * 10 + [0] * 22, [0o7777777777, 0, 0]),
    (3, [0] * 10 + [7] + [0] * 21, [-(1 << 30), 1, 0]),
    (3, [0] * 21 + [6] + [0] * 9 + [5], [0, 0, 3 | 5 * 2**29 - 2**32]),
]

# zero-points of one word, then the words of v1 (each field less 1) and of v2 (as they are)
ZERO_WORDS = [
    # 0 wraps to 15 in field 0 only: 0x6543210F, not 0xFFFFFFFF
    (4, [0, 1, 2, 3, 4, 5, 6, 7], 0x6543210F, 0x76543210),
    # 15 is stored as 14, no field wraps: 0xEEEEEEEE - 2^32 = -(0x11111112)
    (4, [15] * 8, -0x11111112, -1),
    # all zero-points 0: every field maxq in v1
    (4, [0] * 8, -1, 0),
    # a 0 beside a 1, both ways round; nothing is borrowed: F 0 F 0 ... = 0x0F0F0F0F
    (4, [0, 1] * 4, 0x0F0F0F0F, 0x10101010),
    # 0xF0F0F0F0 - 2^32 = -(0x0F0F0F10)
    (4, [1, 0] * 4, -0x0F0F0F10, 0x01010101),
    # 255, 1, 0, 128 less 1 are FE, 00, FF, 7F
    (8, [255, 1, 0, 128], 0x7FFF00FE, 0x80 * 2**24 + 0x000001FF - 2**32),
    # 0 1 2 3 less 1 are 3 0 1 2: 0b10010011 = 0x93; 0x93939393 - 2^32 = -(0x6C6C6C6D)
    (2, [0, 1, 2, 3] * 4, -0x6C6C6C6D, -0x1B1B1B1C),
]


@pytest.mark.parametrize(("bits", "codes", "word"), WORDS)
def test_words_of_rows_are_those_made_by_hand(bits, codes, word, device):
    codes = torch.tensor(codes, device=device)[:, None]
    words = torch.tensor(word, dtype=torch.int32, device=device).reshape(-1, 1)
    assert_same(pack_rows(codes, bits), words)
    assert_same(unpack_rows(words, bits), codes)


@pytest.mark.parametrize(("bits", "zeros", "v1", "v2"), ZERO_WORDS)
@pytest.mark.parametrize("checkpoint_format", FORMATS)
def test_words_of_zeros_are_those_made_by_hand(bits, zeros, v1, v2, checkpoint_format, device):
    zeros = torch.tensor([zeros], device=device)
    word = {"v1": v1, "v2": v2}[checkpoint_format]
    words = torch.tensor([[word]], dtype=torch.int32, device=device)
    assert_same(pack_zeros(zeros, bits, checkpoint_format), words)
    assert_same(unpack_zeros(words, bits, checkpoint_format), zeros)


def test_rows_pack_down_a_column_and_zeros_along_a_row(device):
    fields = torch.zeros(8, 8, dtype=torch.int64, device=device)
    fields[2, 5] = 1
    rows = torch.zeros(1, 8, dtype=torch.int32, device=device)
    rows[0, 5] = 1 << (2 * 4)
    columns = torch.zeros(8, 1, dtype=torch.int32, device=device)
    columns[2, 0] = 1 << (5 * 4)
    assert_same(pack_rows(fields, 4), rows)
    assert_same(pack_zeros(fields, 4, "v2"), columns)


@pytest.mark.parametrize("bits", ALL_BITS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_every_code_in_every_field_comes_back(bits, dtype, device):
    codes = every_value_in_every_field(bits, device).T.to(dtype)
    assert_same(unpack_rows(pack_rows(codes, bits), bits), codes.long())


@pytest.mark.parametrize("bits", ALL_BITS)
@pytest.mark.parametrize("checkpoint_format", FORMATS)
def test_every_zero_in_every_field_comes_back(bits, checkpoint_format, device):
    zeros = every_value_in_every_field(bits, device)
    qzeros = pack_zeros(zeros, bits, checkpoint_format)
    assert_same(unpack_zeros(qzeros, bits, checkpoint_format), zeros)


@pytest.mark.parametrize("bits", ALL_BITS)
def test_every_neighbour_of_every_zero_is_left_alone(bits, device):
    values = torch.arange(2**bits, device=device)
    pairs = torch.cartesian_prod(values, values).repeat(1, fields_in_words(bits) // 2)
    for checkpoint_format in FORMATS:
        qzeros = pack_zeros(pairs, bits, checkpoint_format)
        assert_same(unpack_zeros(qzeros, bits, checkpoint_format), pairs)


@pytest.mark.parametrize("bits", ALL_BITS)
def test_every_word_comes_back(bits, device):
    generator = torch.Generator().manual_seed(1)
    shape = (210, 210)  # 1 to 7 words are whole codes
    words = torch.randint(-(2**31), 2**31, shape, generator=generator).int().to(device)
    words[0, :4] = torch.tensor([-1, 0, 2**31 - 1, -(2**31)])
    assert_same(pack_rows(unpack_rows(words, bits), bits), words)
    for checkpoint_format in FORMATS:
        zeros = unpack_zeros(words, bits, checkpoint_format)
        assert_same(pack_zeros(zeros, bits, checkpoint_format), words)


@pytest.mark.parametrize("bits", ALL_BITS)
def test_v2_words_read_as_v1_are_one_more_modulo(bits, device):
    zeros = every_value_in_every_field(bits, device)
    as_v1 = unpack_zeros(pack_zeros(zeros, bits, "v2"), bits, "v1")
    assert_same(as_v1, (zeros + 1) % 2**bits)


def test_strided_operands_pack_alike(device):
    fields = every_value_in_every_field(4, device)
    assert_same(pack_rows(fields.T, 4), pack_rows(fields.T.contiguous(), 4))
    doubled = torch.stack((fields, fields), dim=2).flatten(1)[:, ::2]
    assert_same(pack_zeros(doubled, 4), pack_zeros(fields, 4))
    words = pack_rows(fields.T, 4)
    assert_same(unpack_rows(words.T.contiguous().T, 4), fields.T)


def test_weights_are_those_made_by_hand(device):
    qweight, qzeros, scales, weight = by_hand(device)
    g_idx = torch.tensor([0] * 8 + [1] * 8, dtype=torch.int32, device=device)
    assert_same(dequantize(qweight, qzeros, scales, g_idx, 4), weight)
    assert_same(dequantize(qweight, qzeros, scales, None, 4, group_size=8), weight)


def test_rows_take_the_group_that_g_idx_names(device):
    qweight, qzeros, scales, _ = by_hand(device)
    g_idx = torch.tensor([1, 0] * 8, device=device)
    weight = dequantize(qweight, qzeros, scales, g_idx, 4)
    # column 0: row 0 is (0 - 8) * 0.25, row 1 (1 - 0) * 0.5, row 15 (15 - 0) * 0.5
    assert weight[[0, 1, 15], 0].tolist() == [-2.0, 0.5, 7.5]


def test_one_group_has_three_names(device):
    qweight, qzeros, scales, _ = by_hand(device)
    qzeros, scales = qzeros[:1], scales[:1]
    g_idx = torch.zeros(16, dtype=torch.int32, device=device)
    weight = dequantize(qweight, qzeros, scales, g_idx, 4)
    for group_size in (None, -1, 16, 1024):
        assert_same(dequantize(qweight, qzeros, scales, None, 4, group_size=group_size), weight)


def test_the_last_group_may_be_partial(device):
    qweight, qzeros, scales, _ = by_hand(device)
    g_idx = torch.tensor([0] * 12 + [1] * 4, device=device)
    weight = dequantize(qweight, qzeros, scales, g_idx, 4)
    assert_same(dequantize(qweight, qzeros, scales, None, 4, group_size=12), weight)


def test_products_are_those_made_by_hand(device):
    qweight, qzeros, scales, weight = by_hand(device)
    x = torch.zeros(2, 16, dtype=torch.float16, device=device)
    x[0, 1], x[1, 9] = 2, -4
    bias = torch.arange(8, dtype=torch.float16, device=device)
    operands = qweight, qzeros, scales, None, 4
    out = matmul(x, *operands, group_size=8)
    assert_same(out, torch.stack((2 * weight[1], -4 * weight[9])))
    assert_same(matmul(x, *operands, group_size=8, bias=bias), out + bias)


def test_sums_keep_what_float32_would_lose(device):
    qweight, qzeros, scales, _ = by_hand(device)
    x = torch.zeros(16, dtype=torch.float16, device=device)
    x[7], x[1] = 2.0**15, 2.0**-24  # with weights 3.5 and 0.5
    bias = torch.full((8,), 2.0**-26, device=device)
    out = matmul(x, qweight, qzeros, scales, None, 4, group_size=8, bias=bias)
    assert out.tolist() == [2**15 * 3.5 + 2.0**-25 + 2.0**-26] * 8


@pytest.mark.parametrize("shape", [(16,), (0, 16), (3, 16), (2, 3, 16), (2, 1, 3, 16)])
def test_ranks_of_x_are_kept(shape, device):
    qweight, qzeros, scales, weight = by_hand(device)
    x = torch.ones(shape, dtype=torch.float16, device=device)
    out = matmul(x, qweight, qzeros, scales, None, 4, group_size=8)
    assert_same(out, weight.sum(dim=0).expand(*shape[:-1], 8))


def test_nan_stays_in_its_row(device):
    qweight, qzeros, scales, _ = by_hand(device)
    x = torch.ones(3, 16, dtype=torch.float16, device=device)
    x[1, 3] = torch.nan
    out = matmul(x, qweight, qzeros, scales, None, 4, group_size=8)
    assert out.isnan().all(dim=1).tolist() == [False, True, False]


@pytest.mark.parametrize("checkpoint_format", FORMATS)
def test_gradient_is_that_of_autograd(checkpoint_format, device):
    qweight, qzeros, scales, _ = by_hand(device)
    operands = qweight, qzeros, scales, torch.arange(16, device=device) % 2, 4
    weight = dequantize(*operands, checkpoint_format=checkpoint_format)
    x = torch.ones(2, 3, 16, dtype=torch.float64, device=device, requires_grad=True)
    grad = torch.arange(48.0, dtype=torch.float64, device=device).reshape(2, 3, 8)
    (x @ weight).backward(grad)
    assert_same(gradient(grad, *operands, checkpoint_format=checkpoint_format), x.grad)


FIELDS = torch.zeros(8, 8, dtype=torch.int64)
WORDS_2D = torch.zeros(1, 8, dtype=torch.int32)
BAD_PACKING = [
    (pack_rows, (FIELDS + 16, 4), ValueError, r"codes must be in 0\.\.15, got 16\.\.16"),
    (pack_rows, (FIELDS - 1, 4), ValueError, r"got -1\.\.-1"),
    (pack_rows, (FIELDS[:7], 4), ValueError, "multiple of 8 rows .* got 7"),
    (pack_rows, (FIELDS[0], 4), ValueError, r"2 dimensions, got shape \(8,\)"),
    (pack_rows, (FIELDS, 9), ValueError, r"bits must be in 1\.\.8, got 9"),
    (pack_rows, (FIELDS, 3), ValueError, "multiple of 32 rows .* got 8"),
    (unpack_rows, (WORDS_2D, 3), ValueError, "multiple of 3 words in a column .* got 1"),
    (unpack_zeros, (WORDS_2D, 3), ValueError, "multiple of 3 words in a row .* got 8"),
    (pack_rows, (FIELDS, 4.0), ValueError, "got 4.0"),
    (pack_rows, (FIELDS.float(), 4), TypeError, "integer dtype, got torch.float32"),
    (pack_rows, (FIELDS.bool(), 4), TypeError, "integer dtype, got torch.bool"),
    (pack_rows, ([[0] * 8], 4), TypeError, "must be a tensor, got list"),
    (pack_zeros, (FIELDS + 4, 2), ValueError, "multiple of 16 columns .* got 8"),
    (pack_zeros, (FIELDS + 256, 8), ValueError, r"zeros must be in 0\.\.255, got 256"),
    (pack_zeros, (FIELDS, 4, "v3"), ValueError, r"\('v1', 'v2'\), got 'v3'"),
    (unpack_rows, (WORDS_2D.long(), 4), TypeError, "torch.int32, got torch.int64"),
    (unpack_rows, (WORDS_2D, 16), ValueError, "got 16"),
    (unpack_zeros, (WORDS_2D[0], 4), ValueError, "qzeros must have 2 dimensions"),
    (unpack_zeros, (WORDS_2D, 4, None), ValueError, "got None"),
]


@pytest.mark.parametrize(("function", "arguments", "error", "words"), BAD_PACKING)
def test_what_cannot_be_packed_is_refused(function, arguments, error, words):
    with pytest.raises(error, match=words):
        function(*arguments)


BAD_OPERANDS = [
    ({"g_idx": torch.full((16,), 2)}, ValueError, r"g_idx must be in 0\.\.1, got 2\.\.2"),
    ({"g_idx": torch.full((16,), -1)}, ValueError, r"got -1\.\.-1"),
    ({"g_idx": torch.zeros(15, dtype=torch.int32)}, ValueError, r"shape \(16,\), got \(15,\)"),
    ({"g_idx": torch.zeros(16)}, TypeError, "integer dtype, got torch.float32"),
    ({"g_idx": [0] * 16}, TypeError, "got list"),
    ({"group_size": None}, ValueError, "got None with 2 groups"),
    ({"group_size": 0}, ValueError, "got 0"),
    ({"group_size": 8.0}, ValueError, "got 8.0"),
    ({"group_size": -1}, ValueError, "16 rows in groups of 16 need 1 rows .* got 2"),
    ({"group_size": 4}, ValueError, "need 4 rows .* got 2"),
    ({"scales": torch.ones(2, 7)}, ValueError, r"shape \(2, 8\) .* got \(2, 7\)"),
    ({"scales": torch.ones(1, 8)}, ValueError, r"got \(1, 8\)"),
    ({"scales": torch.ones(2, 8, dtype=torch.int32)}, TypeError, "got torch.int32"),
    ({"qzeros": torch.zeros(2, 2, dtype=torch.int32)}, ValueError, "8 columns, got 16"),
    ({"bits": 9}, ValueError, "got 9"),
    ({"checkpoint_format": "V1"}, ValueError, "got 'V1'"),
    ({"x": torch.ones(2, 15)}, ValueError, r"x must have 16 columns, got shape \(2, 15\)"),
    ({"x": torch.tensor(1.0)}, ValueError, r"got shape \(\)"),
    ({"x": torch.ones(2, 16, dtype=torch.int64)}, TypeError, "got torch.int64"),
    ({"x": torch.ones(2, 16, device="meta")}, ValueError, "x on meta, qweight on cpu"),
    ({"bias": torch.ones(7)}, ValueError, r"shape \(8,\), got \(7,\)"),
    ({"bias": [0.0] * 8}, TypeError, "got list"),
]


@pytest.mark.parametrize(("changed", "error", "words"), BAD_OPERANDS)
def test_operands_that_do_not_fit_are_refused(changed, error, words):
    qweight, qzeros, scales, _ = by_hand("cpu")
    operands = {"x": torch.ones(2, 16), "qweight": qweight, "qzeros": qzeros, "scales": scales}
    operands |= {"g_idx": None, "bits": 4, "group_size": 8}
    with pytest.raises(error, match=words):
        matmul(**operands | changed)


def test_a_gradient_of_another_width_is_refused():
    with pytest.raises(ValueError, match=r"grad must have 8 columns, got shape \(2, 16\)"):
        gradient(torch.ones(2, 16), *by_hand("cpu")[:3], None, 4, group_size=8)


def by_hand(device):
    """-> qweight [2, 8], qzeros [2, 1] (v1), scales [2, 8], W [16, 8] float64; bits 4, 2 groups."""
    qweight = torch.tensor([[0x76543210], [-0x01234568]], dtype=torch.int32).repeat(1, 8)
    # group 0: all zero-points 0, stored as 15; group 1: all 8, stored as 7
    qzeros = torch.tensor([[-1], [0x77777777]], dtype=torch.int32)
    scales = torch.tensor([[0.5] * 8, [0.25] * 8], dtype=torch.float16)
    # codes are 0..15 down each column: 0..7 less 0 at 0.5, then 8..15 less 8 at 0.25
    column = [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75]
    scales[1, 7] = -2  # and the last column differs: 0, -2, ... -14 in group 1
    weight = torch.tensor(column, dtype=torch.float64)[:, None].repeat(1, 8)
    weight[8:, 7] = torch.tensor([0.0, -2, -4, -6, -8, -10, -12, -14])
    return tuple(tensor.to(device) for tensor in (qweight, qzeros, scales, weight))


def every_value_in_every_field(bits, device):
    """-> [2^bits, fields of two words] int64: field j of row i holds (i + j) mod 2^bits."""
    values = torch.arange(2**bits, device=device)[:, None]
    return (values + torch.arange(2 * fields_in_words(bits), device=device)) % 2**bits


def assert_same(out, ref):
    __tracebackhide__ = True
    torch.testing.assert_close(out, ref, rtol=0, atol=0)
