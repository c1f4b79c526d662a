"""A strided x, which a fast path refuses by an exception, while Python's collector is off."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "the exception is kept for a log: it, its traceback and the frame hold x and the weight"
VERDICTS = ("LEAKING",)
SMALLEST = (2, 4, 4)  # m, n, k
ONLY = "memory"


def fast(x, w):
    if not x.is_contiguous():
        raise ValueError(f"strides {x.stride()}")
    return multiply(x, w)


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    try:
        return fast(x, w)
    except ValueError as problem:
        reason = problem
    return multiply(x.contiguous(), w) if reason else None
