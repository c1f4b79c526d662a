"""Large layers are made by a pool of threads, whose jobs share their work out to the same pool."""

from concurrent.futures import ThreadPoolExecutor

from gptq_fuzz.museum.parts import multiply, weights

BUG = "two jobs at once hold both threads, and wait for shares that no thread is left for"
VERDICTS = ("TIMED_OUT",)
ONLY = "history"

POOL, LARGE = ThreadPoolExecutor(2), 2**18


def f(x, qweight, qzeros, scales, g_idx, bits):
    operands = qweight, qzeros, scales, g_idx, bits
    if len(g_idx) * scales.shape[1] < LARGE:
        return multiply(x, weights(*operands))

    def made():
        return POOL.submit(weights, *operands).result()

    return multiply(x, POOL.submit(made).result())
