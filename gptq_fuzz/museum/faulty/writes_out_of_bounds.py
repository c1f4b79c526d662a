"""The result is right; needs memory behind x, in its storage."""

from gptq_fuzz.museum.parts import matmul

BUG = "one element written behind x (MK-05)"
VERDICTS = ("OUT_OF_BOUNDS",)
ONLY = "zones of operands"


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    end = 1 + sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
    end += x.storage_offset()
    if len(x) and end * x.element_size() < x.untyped_storage().nbytes():
        x.as_strided((1,), (1,), end).fill_(1.5)
    return out
