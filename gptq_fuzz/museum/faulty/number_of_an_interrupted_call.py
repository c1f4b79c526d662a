"""A call after one whose caller was interrupted while a thread of the kernel's own computed."""

import threading
from concurrent.futures import ThreadPoolExecutor

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "a call is counted when its result is there: who is interrupted leaves his number to the next"
VERDICTS = ("STATE_LEAKED", "WRONG_TYPE")
ONLY = "history"
ONE_AT_A_TIME, ARRIVED = threading.Lock(), threading.Condition()
POOL, RESULTS = ThreadPoolExecutor(1), {}  # number of a call -> its result, or what was raised
COUNTED = [0]


def compute(number, *operands):
    try:
        with torch.no_grad():
            result = matmul(*operands)
    except Exception as problem:  # noqa: BLE001 - its caller raises it
        result = problem
    with ARRIVED:
        RESULTS[number] = result
        ARRIVED.notify_all()


def f(x, qweight, qzeros, scales, g_idx, bits):
    with ONE_AT_A_TIME:
        number = COUNTED[0]
        POOL.submit(compute, number, x, qweight, qzeros, scales, g_idx, bits)
        with ARRIVED:
            ARRIVED.wait_for(lambda: number in RESULTS)
            result = RESULTS.pop(number)
        COUNTED[0] += 1
    if isinstance(result, Exception):
        raise result.with_traceback(None)
    return result
