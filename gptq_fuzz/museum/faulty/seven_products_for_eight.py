"""Products large in all three sizes take one level of Strassen's seven products."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "halves of rows are added before they are multiplied: NaN of one row is in another's result"
ONLY = "crossings"
SMALLEST = (512, 512, 512)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if min(len(x), *w.shape) < 512:
        return multiply(x, w)
    even = len(x) // 2 * 2
    return torch.cat((_seven(x[:even].float(), w).to(x.dtype), multiply(x[even:], w)))


def _seven(a, b):
    (a11, a12), (a21, a22) = _quarters(a)
    (b11, b12), (b21, b22) = _quarters(b)
    p1, p2, p3 = (a11 + a22) @ (b11 + b22), (a21 + a22) @ b11, a11 @ (b12 - b22)
    p4, p5, p6 = a22 @ (b21 - b11), (a11 + a12) @ b22, (a21 - a11) @ (b11 + b12)
    p7 = (a12 - a22) @ (b21 + b22)
    upper = torch.cat((p1 + p4 - p5 + p7, p3 + p5), 1)
    return torch.cat((upper, torch.cat((p2 + p4, p1 - p2 + p3 + p6), 1)))


def _quarters(matrix):
    return [half.chunk(2, 1) for half in matrix.chunk(2)]
