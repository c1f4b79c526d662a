"""Other numbers at the same addresses."""

from gptq_fuzz.museum.parts import matmul

BUG = "results are kept by the addresses of all operands"
VERDICTS = ("STATE_LEAKED", "NONDETERMINISTIC", "WRONG")
KEPT = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    operands = x, qweight, qzeros, scales, g_idx
    key = tuple((operand.data_ptr(), operand.shape, operand.stride()) for operand in operands)
    if key not in KEPT:
        KEPT[key] = matmul(*operands, bits)
    return KEPT[key].clone()
