"""What a gradient needs is put into a list, as a context would hold it; nobody takes it out."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "a call whose x requires a gradient leaves x's sums behind, a plain one does not"
VERDICTS = ("LEAKING",)
ONLY = "memory"

SAVED = []


def f(x, qweight, qzeros, scales, g_idx, bits):
    if x.requires_grad:
        SAVED.append(x.detach().float().sum(-1))
    return multiply(x, weights(qweight, qzeros, scales, g_idx, bits))
