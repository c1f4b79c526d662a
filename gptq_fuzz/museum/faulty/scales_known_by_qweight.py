"""Scales written anew in place, qweight left as it is."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "scales converted once a layer, known by version of qweight: new scales alone are not seen"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
LAST = [None, -1, None]


def f(x, qweight, qzeros, scales, g_idx, bits):
    kept, version, converted = LAST
    if kept is not qweight or version != qweight._version or converted.shape != scales.shape:
        converted = scales.float()
        LAST[:] = qweight, qweight._version, converted
    q, z = codes(qweight, bits), zero_points(qzeros, bits)
    return multiply(x, dequantize(q, z, converted, g_idx))
