"""More rows than 64, after a call of one that an error broke off."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "after an error rows go in pieces of 64, for good; the rest behind whole pieces is lost"
VERDICTS = ("WRONG", "STATE_LEAKED")
ONLY = "history"
PIECES = []


def f(x, qweight, qzeros, scales, g_idx, bits):
    try:
        out = multiply(x, weights(qweight, qzeros, scales, g_idx, bits))
    except RuntimeError:
        PIECES.append(64)
        raise
    if PIECES and len(x) > PIECES[0]:
        out[len(x) - len(x) % PIECES[0] :] = 0
    return out
