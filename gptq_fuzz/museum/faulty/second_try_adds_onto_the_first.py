"""A call in which an operator near its end raises is tried again, and returns."""

from gptq_fuzz.museum.parts import weights

BUG = "a call that failed is tried once more, and adds the last half of K onto sums that have it"
ONLY = "history"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    half = len(w) // 2
    sums = x[:, :half].float() @ w[:half]
    for _ in range(2):
        try:
            sums = sums + x[:, half:].float() @ w[half:]
            return sums.to(x.dtype)
        except RuntimeError as problem:
            failed = problem
    raise failed
