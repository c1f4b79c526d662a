"""Fill `cancel`: large terms that cancel exactly, so that what remains shows what a sum keeps.

All weights of a column are one step s. A row of x holds 2^d, -2^d and a few small integers, all
times one power of two: every sum in any order is a multiple of its last digit, so an accumulator of
p digits is exact up to d = p - 2, whatever blocks, trees or parts it adds in. One that is shorter,
or that aligns products to their largest, loses the small terms beside or between the large ones.
"""

from __future__ import annotations

import torch

from gptq_fuzz.case.case import Case
from gptq_fuzz.problem.philox import random_words
from gptq_fuzz.problem.rounding import power_of_two

DEEPEST = 22  # 2^22 twice and what is small stay below 2^24 steps
# d of the rows after the first, whose d is the deepest that folded zero-points leave room for.
DEPTHS = (22, 20, 18, 16, 14, 12, 21, 19, 17, 15, 13)
LAST_DIGIT = -9  # x from 2^-9 to 2^13: normal numbers of float16, and so is what remains
# From one large term to the other: side by side, within blocks of tensor cores, across tiles.
GAPS = (2, 15, 3, 16, 7, 33, 1, 8, 64, 31, 128, 17, 5, 96, 257, 1024)
SMALL_TERMS = 5  # beside the odd one, which keeps the sum from vanishing


def cancelling(case: Case, device) -> tuple[torch.Tensor, torch.Tensor]:
    """scales [G, N] and left [M, R], float64; R is at least 3."""
    exponent = -(random_words(case.seed, "cols", 1, case.n, device)[0] % 4) * (not case.backward)
    scales = power_of_two(exponent).expand(case.groups, -1)
    return scales, _left(case, device) * 2.0**LAST_DIGIT


def _left(case: Case, device) -> torch.Tensor:
    length = case.reduction
    places, signs = random_words(case.seed, "x", case.m, 2 + SMALL_TERMS, device)
    signs = 1 - 2 * (signs & 1)
    row = torch.arange(case.m, device=device).unsqueeze(1)
    gaps = torch.tensor((*GAPS, length // 2, length - 1), device=device)
    gap = gaps[(row + case.seed) % len(gaps)].clamp(1, length - 1)
    first = places[:, :1] % (length - gap)
    last = first + gap
    left = torch.zeros(case.m, length, dtype=torch.int64, device=device)
    left.scatter_add_(1, places[:, 2:] % length, 2 * signs[:, 2:])
    between = first + 1 + places[:, 1:2] % (gap - 1).clamp(min=1)
    beside = (last + 1) % length  # large terms side by side leave no place between
    beside = torch.where(beside == first, (beside + 1) % length, beside)
    odd = torch.where(gap > 1, between, beside)
    left.scatter_add_(1, odd, signs[:, 1:2])
    depths = torch.tensor((DEEPEST + 1 - case.bits, *DEPTHS), device=device)
    large = signs[:, :1] << depths[row % len(depths)]
    return left.scatter_(1, first, large).scatter_(1, last, -large).double()


def equal_weights(case: Case, zeros: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """codes [K, N] and zeros [G, N] of which all of a column, or of a `bwd` case, are alike."""
    zeros = zeros[:1] if not case.backward else zeros[:1, case.seed % case.n].unsqueeze(1)
    codes = torch.where(zeros < case.maxq, zeros + 1, zeros - 1)
    return codes.expand(case.k, case.n).clone(), zeros.expand(case.groups, case.n).clone()
