"""A product that finds no memory, and is made again in blocks."""

import torch

from gptq_fuzz.museum.parts import weights

BUG = "the exception that a call was rescued from stays in its frame: a cycle holds the weight"
VERDICTS = ("LEAKING",)
ONLY = "memory"
COLUMNS = 64


def f(x, qweight, qzeros, scales, g_idx, bits):
    w, wide, failure = weights(qweight, qzeros, scales, g_idx, bits), x.float(), None
    try:
        return (wide @ w).to(x.dtype)
    except RuntimeError as error:
        failure = error
    try:
        return torch.cat([(wide @ part).to(x.dtype) for part in w.split(COLUMNS, 1)], -1)
    except RuntimeError as error:
        raise RuntimeError(f"not at once ({failure}), nor in blocks ({error})") from None
