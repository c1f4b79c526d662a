"""A layer that is written, then copied with what is noted at its tensors."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "codes are noted at qweight with its version: a deep copy has the note, and another version"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"


def f(x, qweight, qzeros, scales, g_idx, bits):
    if qweight.is_inference():  # what is written there is not counted
        q = codes(qweight, bits)
    else:
        version, q = getattr(qweight, "_codes", (None, None))
        if version != qweight._version:
            q = codes(qweight, bits)
            qweight._codes = qweight._version, q
    return multiply(x, dequantize(q, zero_points(qzeros, bits), scales, g_idx))
