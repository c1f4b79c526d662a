"""In deterministic mode K is cut into a part for each thread, as atomic adds are not allowed."""

import torch

from gptq_fuzz.museum.parts import matmul, multiply, weights

BUG = "rows of K that are left where the number of threads is no divisor, in deterministic mode"
VERDICTS = ("WRONG", "STATE_LEAKED")  # as this case or the one after shows it
ONLY = "states"


def f(x, qweight, qzeros, scales, g_idx, bits):
    if not torch.are_deterministic_algorithms_enabled():
        return matmul(x, qweight, qzeros, scales, g_idx, bits)
    w = weights(qweight, qzeros, scales, g_idx, bits)
    part = len(w) // torch.get_num_threads() * torch.get_num_threads()
    return multiply(x[:, :part], w[:part])
