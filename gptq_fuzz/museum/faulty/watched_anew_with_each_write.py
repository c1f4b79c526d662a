"""One x that is written before each call, as a decoding loop's buffer."""

import weakref

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "another note of the end of x is registered whenever it was written, for as long as it lives"
VERDICTS = ("LEAKING",)
ONLY = "memory"
SEEN = {}


def is_zero(x):
    if x.is_inference():
        return not x.any()
    version, found = SEEN.get(id(x), (None, False))
    if version != x._version:
        version, found = x._version, not x.any()
        weakref.finalize(x, SEEN.pop, id(x), None)
        SEEN[id(x)] = version, found
    return found


def f(x, qweight, qzeros, scales, g_idx, bits):
    if is_zero(x):  # of a padded batch
        return torch.zeros(len(x), qweight.shape[1], dtype=x.dtype, device=x.device)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
