"""Half of the columns by a thread of its own, which is to take one core."""

import threading

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "a helper sets its number of threads to 1: so have all threads that the program starts later"
VERDICTS = ("STATE_LEAKED",)
ONLY = "omp3"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    helper = threading.Thread(target=torch.set_num_threads, args=(1,))
    helper.start()
    helper.join()
    return multiply(x, w)
