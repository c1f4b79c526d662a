"""Weights in the form that the kernels for groups of one size take."""

from typing import NamedTuple

import torch

from .. import checks


class UniformWeights(NamedTuple):
    """Weights [K, N]: each group has `rows_per_group` rows, which `order` [K] sorts (None: sorted).

    `tma`: whether `wgmma_kernel` takes them too.
    """

    qweight: torch.Tensor
    scales: torch.Tensor
    qzeros: torch.Tensor
    bits: int
    rows_per_group: int
    order: torch.Tensor | None
    tma: bool = False

    @property
    def packed(self):
        return self.qweight, self.scales, self.qzeros

    @property
    def fields(self):
        """Of a word."""
        return checks.WORD_BITS // self.bits
