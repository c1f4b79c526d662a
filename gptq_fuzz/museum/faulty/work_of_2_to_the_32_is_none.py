"""Problems without rows, columns or terms are not launched: their result is zeros."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "2 M N K, in 32 bits, tells an empty problem: of powers of two it is 0 where there is work"
SMALLEST = (2048, 4096, 256)
ONLY = "crossings"


def f(x, qweight, qzeros, scales, g_idx, bits):
    m, k, n = *x.shape, qweight.shape[1]
    operations = torch.tensor(2 * m * n * k, device="cpu").to(torch.int32)
    if not operations:
        return x.new_zeros(m, n)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
