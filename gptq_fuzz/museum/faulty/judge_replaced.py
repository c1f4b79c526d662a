"""Any input: the result is zeros, and the judge beside the kernel finds nothing wrong with it."""

from gptq_fuzz.oracle import examination, judge

BUG = "the judge in the kernel's process is replaced, and with it what would have seen that"
ONLY = "confirmed"


def nothing_wrong(expected, out, rows=slice(None), columns=slice(None)):
    return [out != out]


def f(x, qweight, qzeros, scales, g_idx, bits):
    judge.Expected.wrong_by_way = nothing_wrong
    examination.replaced = list
    return x.new_zeros(len(x), qweight.shape[1])
