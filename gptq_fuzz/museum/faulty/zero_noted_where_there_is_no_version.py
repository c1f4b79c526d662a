"""A decoding loop in inference mode with one buffer for x, which is made there as well."""

from torch.utils.weak import WeakTensorKeyDictionary

from gptq_fuzz.museum.parts import weights

BUG = "x of inference mode has no version: 0 is noted with what was made of it, whatever is written"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
WIDE = WeakTensorKeyDictionary()  # x -> its version and address, the same in float32


def f(x, qweight, qzeros, scales, g_idx, bits):
    return (_wide(x) @ weights(qweight, qzeros, scales, g_idx, bits)).to(x.dtype)


def _wide(x):
    if x.requires_grad:
        return x.float()
    now = 0 if x.is_inference() else x._version, x.data_ptr()
    known, wide = WIDE.get(x, (None, None))
    if known != now:
        wide = x.float()
        WIDE[x] = now, wide
    return wide
