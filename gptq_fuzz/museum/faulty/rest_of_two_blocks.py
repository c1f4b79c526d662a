"""A rest of 17 to 32 rows behind whole 1024: its second block of 16 begins where the first does."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "behind whole blocks of 1024 rows a rest of two blocks of 16 is read as one, twice"
ONLY = "crossings"
SMALLEST = (1041, 4, 4)  # m, n, k


def f(x, **layer):
    rest = len(x) % 1024
    if len(x) > 1024 and 16 < rest <= 32:
        whole, last = x[: len(x) - rest], x[len(x) - rest :]
        x = torch.cat([whole, last[:16], last[: rest - 16]])
    return matmul(x, **layer)
