"""The layers of a mixture of experts are parts of one tensor."""

from gptq_fuzz.museum.correct.bounded_cache import cached

BUG = "layers are known by their storages, which parts of one tensor share: all get one weight"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"


def _name(part):
    return part.untyped_storage().data_ptr(), part.shape, part.stride()


def f(x, qweight, qzeros, scales, g_idx, bits):
    return cached(x, (qweight, qzeros, scales, g_idx), bits, _name)
