"""K is cut into a part for each thread, all of the same length."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "the remainder of K over the number of threads is lost"
VERDICTS = ("WRONG", "STATE_LEAKED")  # as this case or the one after shows it
ONLY = "omp3"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    kept = len(w) // torch.get_num_threads() * torch.get_num_threads()
    return multiply(x[:, :kept], w[:kept])
