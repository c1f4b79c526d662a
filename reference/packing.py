"""Codes and zero-points <-> int32 words.

Field j of a word is bits [j * bits, (j + 1) * bits). qweight packs rows of K, qzeros columns of N.
"""

import torch

WORD_BITS = 32
BITS = (2, 4, 8)
ZERO_OFFSET = {"v1": 1, "v2": 0}  # what a checkpoint subtracts from a zero-point, modulo 2^bits


def pack_rows(codes, bits):
    """[K, N] integer -> qweight [K // pack_factor, N] int32."""
    return _pack(_checked_fields("codes", codes, bits, packed_dim=0), bits)


def unpack_rows(qweight, bits):
    """[K // pack_factor, N] int32 -> codes [K, N] int64."""
    return _unpack(_checked_words("qweight", qweight, bits), bits)


def pack_zeros(zeros, bits, checkpoint_format="v1"):
    """[G, N] integer -> qzeros [G, N // pack_factor] int32."""
    offset = _zero_offset(checkpoint_format)
    stored = (_checked_fields("zeros", zeros, bits, packed_dim=1) - offset) & max_code(bits)
    return _pack(stored.T, bits).T.contiguous()


def unpack_zeros(qzeros, bits, checkpoint_format="v1"):
    """[G, N // pack_factor] int32 -> zero-points [G, N] int64."""
    offset = _zero_offset(checkpoint_format)
    stored = _unpack(_checked_words("qzeros", qzeros, bits).T, bits).T.contiguous()
    return (stored + offset) & max_code(bits)


def pack_factor(bits):
    """Fields in a word."""
    if type(bits) is not int or bits not in BITS:
        raise ValueError(f"bits must be one of {BITS}, got {bits!r}")
    return WORD_BITS // bits


def max_code(bits):
    """The largest code, which is also the mask of a field."""
    return 2**bits - 1


def _pack(fields, bits):
    """[R, C] int64 in 0..maxq -> [R // pack_factor, C] int32."""
    per_word = pack_factor(bits)
    rows, columns = fields.shape
    grouped = fields.reshape(rows // per_word, per_word, columns)
    words = (grouped << _shifts(fields, bits)).sum(dim=1)
    sign = 1 << (WORD_BITS - 1)
    return ((words ^ sign) - sign).to(torch.int32)  # modulo 2^32, so that the cast cannot overflow


def _unpack(words, bits):
    """[R, C] int32 -> [R * pack_factor, C] int64."""
    fields = (words.to(torch.int64)[:, None, :] >> _shifts(words, bits)) & max_code(bits)
    return fields.reshape(words.shape[0] * pack_factor(bits), words.shape[1])


def _shifts(like, bits):
    """-> [pack_factor, 1] int64, one shift for each field of a word."""
    return torch.arange(0, WORD_BITS, bits, dtype=torch.int64, device=like.device)[:, None]


def _zero_offset(checkpoint_format):
    if checkpoint_format not in ZERO_OFFSET:
        wanted = tuple(ZERO_OFFSET)
        raise ValueError(f"checkpoint_format must be one of {wanted}, got {checkpoint_format!r}")
    return ZERO_OFFSET[checkpoint_format]


def _checked_fields(name, fields, bits, packed_dim):
    per_word = pack_factor(bits)
    _check_matrix(name, fields)
    if fields.is_floating_point() or fields.is_complex() or fields.dtype == torch.bool:
        raise TypeError(f"{name} must have an integer dtype, got {fields.dtype}")
    size = fields.shape[packed_dim]
    if size % per_word:
        raise ValueError(
            f"{name} must have a multiple of {per_word} {('rows', 'columns')[packed_dim]} "
            f"for whole words of {bits} bits, got {size}"
        )
    wide = fields.to(torch.int64)
    if wide.numel():
        low, high = (int(value) for value in torch.aminmax(wide))
        if low < 0 or high > max_code(bits):
            raise ValueError(f"{name} must be in 0..{max_code(bits)}, got {low}..{high}")
    return wide


def _checked_words(name, words, bits):
    pack_factor(bits)
    _check_matrix(name, words)
    if words.dtype != torch.int32:
        raise TypeError(f"{name} must be torch.int32, got {words.dtype}")
    return words


def _check_matrix(name, tensor):
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(tensor).__name__}")
    if tensor.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions, got shape {tuple(tensor.shape)}")
