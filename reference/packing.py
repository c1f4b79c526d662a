"""Codes and zero-points <-> int32 words.

Field j is bits [j * bits, (j + 1) * bits) of a row of words, the lowest ones first: where `bits`
divides 32 a word holds 32 / bits whole fields, with 3 bits three words hold 32, of which two lie
across a border. qweight packs rows of K, qzeros columns of N.
"""

import math

import torch

WORD_BITS = 32
BITS = range(1, 9)
LOW = 2**WORD_BITS - 1  # the bits of a word
ZERO_OFFSET = {"v1": 1, "v2": 0}  # what a checkpoint subtracts from a zero-point, modulo 2^bits


def pack_rows(codes, bits):
    """[K, N] integer -> qweight [K * bits / 32, N] int32."""
    return _pack(_checked_fields("codes", codes, bits, packed_dim=0), bits)


def unpack_rows(qweight, bits):
    """[K * bits / 32, N] int32 -> codes [K, N] int64."""
    return _unpack(_checked_words("qweight", qweight, bits, packed_dim=0), bits)


def pack_zeros(zeros, bits, checkpoint_format="v1"):
    """[G, N] integer -> qzeros [G, N * bits / 32] int32."""
    offset = _zero_offset(checkpoint_format)
    stored = (_checked_fields("zeros", zeros, bits, packed_dim=1) - offset) & max_code(bits)
    return _pack(stored.T, bits).T.contiguous()


def unpack_zeros(qzeros, bits, checkpoint_format="v1"):
    """[G, N * bits / 32] int32 -> zero-points [G, N] int64."""
    offset = _zero_offset(checkpoint_format)
    stored = _unpack(_checked_words("qzeros", qzeros, bits, packed_dim=1).T, bits).T.contiguous()
    return (stored + offset) & max_code(bits)


def fields_in_words(bits):
    """The fewest fields that fill whole words."""
    _check_bits(bits)
    return math.lcm(WORD_BITS, bits) // bits


def max_code(bits):
    """The largest code, which is also the mask of a field."""
    return 2**bits - 1


def _pack(fields, bits):
    """[R, C] int64 in 0..maxq -> [R * bits / 32, C] int32."""
    word, shift = _places(fields.shape[0], bits, fields)
    shifted = fields << shift[:, None]
    words = fields.new_zeros(fields.shape[0] * bits // WORD_BITS + 1, fields.shape[1])
    words.index_add_(0, word, shifted & LOW)
    words.index_add_(0, word + 1, shifted >> WORD_BITS)  # what lies across the border
    sign = 1 << (WORD_BITS - 1)
    return ((words[:-1] ^ sign) - sign).to(torch.int32)  # modulo 2^32: the cast cannot overflow


def _unpack(words, bits):
    """[R, C] int32 -> [R * 32 / bits, C] int64."""
    word, shift = _places(words.shape[0] * WORD_BITS // bits, bits, words)
    unsigned = words.to(torch.int64) & LOW
    fields = unsigned[word] >> shift[:, None]
    if WORD_BITS % bits:
        following = (word + 1).clamp(max=max(words.shape[0] - 1, 0))
        fields |= unsigned[following] << (WORD_BITS - shift)[:, None]
    return fields & max_code(bits)


def _places(count, bits, like):
    """-> [count] int64 each: the word in which a field begins, and its lowest bit there."""
    first = torch.arange(count, device=like.device) * bits
    return first // WORD_BITS, first % WORD_BITS


def _zero_offset(checkpoint_format):
    if checkpoint_format not in ZERO_OFFSET:
        wanted = tuple(ZERO_OFFSET)
        raise ValueError(f"checkpoint_format must be one of {wanted}, got {checkpoint_format!r}")
    return ZERO_OFFSET[checkpoint_format]


def _checked_fields(name, fields, bits, packed_dim):
    unit = fields_in_words(bits)
    _check_matrix(name, fields)
    if fields.is_floating_point() or fields.is_complex() or fields.dtype == torch.bool:
        raise TypeError(f"{name} must have an integer dtype, got {fields.dtype}")
    size = fields.shape[packed_dim]
    if size % unit:
        raise ValueError(
            f"{name} must have a multiple of {unit} {('rows', 'columns')[packed_dim]} "
            f"for whole words of {bits} bits, got {size}"
        )
    wide = fields.to(torch.int64)
    if wide.numel():
        low, high = (int(value) for value in torch.aminmax(wide))
        if low < 0 or high > max_code(bits):
            raise ValueError(f"{name} must be in 0..{max_code(bits)}, got {low}..{high}")
    return wide


def _checked_words(name, words, bits, packed_dim):
    whole = fields_in_words(bits) * bits // WORD_BITS
    _check_matrix(name, words)
    if words.dtype != torch.int32:
        raise TypeError(f"{name} must be torch.int32, got {words.dtype}")
    if words.shape[packed_dim] % whole:
        raise ValueError(
            f"{name} must have a multiple of {whole} words in a {('column', 'row')[packed_dim]} "
            f"for whole codes of {bits} bits, got {words.shape[packed_dim]}"
        )
    return words


def _check_bits(bits):
    if type(bits) is not int or bits not in BITS:
        raise ValueError(f"bits must be in {BITS[0]}..{BITS[-1]}, got {bits!r}")


def _check_matrix(name, tensor):
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(tensor).__name__}")
    if tensor.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions, got shape {tuple(tensor.shape)}")
