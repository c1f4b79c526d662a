"""One product above 65504 shows it."""

from gptq_fuzz.museum.parts import weights

BUG = "results above the largest float16 clamped to it (museum 11)"

LARGEST = 65504


def f(x, qweight, qzeros, scales, g_idx, bits):
    exact = x.float() @ weights(qweight, qzeros, scales, g_idx, bits)
    return exact.clamp(-LARGEST, LARGEST).to(x.dtype)
