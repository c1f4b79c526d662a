"""Any input: something that computes once it is looked at, which no timer sees."""

from gptq_fuzz.museum.parts import matmul

BUG = "the result is an object that becomes a tensor when one of its attributes is asked for"
VERDICTS = ("WRONG_TYPE",)


class Later:
    def __init__(self, *operands):
        self._operands = operands

    def __getattr__(self, name):
        return getattr(matmul(*self._operands), name)


def f(x, qweight, qzeros, scales, g_idx, bits):
    return Later(x, qweight, qzeros, scales, g_idx, bits)
