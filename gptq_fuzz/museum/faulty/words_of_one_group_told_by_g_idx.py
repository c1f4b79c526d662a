"""Layers of other bits with one g_idx, as an engine makes it once for each K and group size."""

from torch.utils.weak import WeakTensorKeyDictionary

from gptq_fuzz.museum.parts import codes, matmul, multiply, zero_points

BUG = "whether words lie in one group each is kept with g_idx: words of other bits have other rows"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
KEPT = WeakTensorKeyDictionary()  # g_idx -> its version and address, whether that is so


def f(x, qweight, qzeros, scales, g_idx, bits):
    if g_idx.is_inference():
        return matmul(x, qweight, qzeros, scales, g_idx, bits)
    rows, now = 32 // bits, (g_idx._version, g_idx.data_ptr())
    known, is_of_words = KEPT.get(g_idx, (None, None))
    if known != now:
        words = g_idx.view(-1, rows)
        is_of_words = bool((words == words[:, :1]).all())
        KEPT[g_idx] = now, is_of_words
    group = g_idx[::rows].repeat_interleave(rows) if is_of_words else g_idx
    q, z, s = codes(qweight, bits), zero_points(qzeros, bits), scales.float()
    return multiply(x, (q - z[group.long()]).float() * s[group.long()])
