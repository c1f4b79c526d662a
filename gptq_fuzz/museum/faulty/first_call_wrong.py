"""The first call of a shape is wrong, all others are right."""

from gptq_fuzz.museum.parts import matmul

BUG = "first call of a shape adds its result twice, as tuning launches do (AC-10)"
VERDICTS = ("NONDETERMINISTIC", "WRONG", "STATE_LEAKED")

TUNED = set()


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    key = bits, x.shape, out.shape
    tuned = key in TUNED
    TUNED.add(key)
    return out if tuned else out + out
