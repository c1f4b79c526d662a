"""The tensors of one timed product: copies of its weights, more than any cache holds."""

from __future__ import annotations

import functools

import torch

from gptq_fuzz.bench.bound import HALF, packed_bytes
from gptq_fuzz.case.axes import WORD_BITS
from gptq_fuzz.case.case import Case
from gptq_fuzz.reference.matmul import dequantize

WEIGHT_RANGE = 0.04  # weights of a layer lie within this, more or less
INT32 = (-(2**31), 2**31)


def copies_of(bytes_of_one: int, device) -> int:
    """How many copies are gone round, so that none is still in the L2 when its turn comes."""
    return max(1, -(-device.working_set // bytes_of_one))


def random_weights(case: Case, place: str, seed: int) -> dict:
    """A layer by keyword: any 32 bits are codes, so that words are drawn as they are."""
    generator = torch.Generator(place).manual_seed(seed)
    options = {"generator": generator, "device": place}
    groups, words = case.groups, case.n * case.bits // WORD_BITS
    row = torch.arange(case.k, device=place)
    if case.g_idx == "act":
        row = torch.randperm(case.k, **options)
    spread = 0.5 + torch.rand(groups, case.n, **options)
    return {
        "qweight": torch.randint(
            *INT32, (case.k * case.bits // WORD_BITS, case.n), dtype=torch.int32, **options
        ),
        "qzeros": torch.randint(*INT32, (groups, words), dtype=torch.int32, **options),
        "scales": (spread * (WEIGHT_RANGE / 2**case.bits)).half(),
        "g_idx": (row // case.rows_per_group).int(),
        "bias": None,
        "bits": case.bits,
        "group_size": case.group_size,
        "checkpoint_format": case.checkpoint_format,
    }


class Problem:
    """x [M, K] and the weights that it is multiplied with in turn; drawn when first asked for."""

    def __init__(self, case: Case, device):
        self.case, self.device = case, device
        generator = torch.Generator(device.place).manual_seed(case.seed)
        shape = (case.m, case.k)
        self.x = torch.randn(shape, generator=generator, device=device.place).half()

    @functools.cached_property
    def weights(self) -> list[dict]:
        """Packed layers, all different."""
        count = copies_of(packed_bytes(self.case), self.device)
        return [random_weights(self.case, self.device.place, seed) for seed in range(count)]

    @functools.cached_property
    def weight(self) -> torch.Tensor:
        """The first of them as W [K, N] float32."""
        names = ("qweight", "qzeros", "scales", "g_idx", "bits")
        return dequantize(**{name: self.weights[0][name] for name in names}).float()

    @functools.cached_property
    def dense(self) -> list[torch.Tensor]:
        """Weights [N, K] float16, as an unquantised layer has them; the first is `weight`."""
        first = self.weight.T.contiguous().half()
        count = copies_of(HALF * first.numel(), self.device)
        return [first] + [first.roll(shift, 0) for shift in range(1, count)]

    @functools.cached_property
    def product(self) -> torch.Tensor:
        """x times `weight` in float32."""
        return self.x.float() @ self.weight

    def relative_error(self, out: torch.Tensor) -> float:
        """Frobenius norm of out - product over that of product; `out` from the first weights."""
        return float((out.float() - self.product).norm() / self.product.norm())
