"""Scales that are another tensor now, with the id of those before, which are dead."""

from torch.utils.weak import WeakTensorKeyDictionary

from gptq_fuzz.museum.parts import multiply, weights

BUG = "what a layer has beside its words is known by id and version, which a new tensor gets again"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
KEPT = WeakTensorKeyDictionary()  # qweight -> what it had beside it, and the weights


def f(x, qweight, qzeros, scales, g_idx, bits):
    operands = qweight, qzeros, scales, g_idx
    if any(operand.is_inference() for operand in operands):
        return multiply(x, weights(*operands, bits))
    known = [(id(operand), operand._version) for operand in operands]
    if KEPT.get(qweight, ("",))[0] != known:
        KEPT[qweight] = known, weights(*operands, bits)
    return multiply(x, KEPT[qweight][1])
