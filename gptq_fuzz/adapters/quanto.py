"""optimum-quanto's weights of 2 and 4 bits, dequantised in full by torch."""

from __future__ import annotations

import torch
from optimum.quanto import WeightQBitsTensor, qint2, qint4

from gptq_fuzz.adapters.torch_matmul import DEQUANTIZED
from gptq_fuzz.case.backend import Backend, Limits

KINDS = {2: qint2, 4: qint4}


def prepare(*, codes, zeros, scales, bias, bits, group_size, **_):
    """[N, K] with a row of codes for each group; a zero-point is an integer shift."""
    K, N = codes.shape
    per_group = codes.T.reshape(-1, group_size).contiguous()
    scale, shift = scales.T.reshape(-1, 1).contiguous(), zeros.T.reshape(-1, 1).to(torch.int8)
    size = torch.Size((N, K))
    weight = WeightQBitsTensor.create(
        KINDS[bits], 0, group_size, size, (K, 1), per_group, scale, shift.contiguous()
    )
    return weight, bias


def run(state, *, x):
    """x [..., K] -> [..., N]."""
    return torch.nn.functional.linear(x, *state)


def start(device):
    """Builds its extension, at the first call of all."""
    torch.ops.quanto.unpack(torch.zeros(1, 1, dtype=torch.uint8, device=device), 4)


QUANTO = Backend(
    name="quanto",
    operands="codes",
    prepare=prepare,
    run=run,
    start=start,
    limits=Limits(
        bits=(4, 2),
        dtypes=("f16", "bf16", "f32"),
        scales_dtypes=("sf16", "sbf16", "sf32"),
        g_idx=("seq",),
        # Of 128 in bfloat16 it makes a tensor for another kernel, and that wants no integer shift.
        group_sizes=(16, 32, 64),
        ranks=(2, 3),
        bias=True,
        n_multiple=16,
        k_multiple=16,
        whole_groups=True,
        scales_as_x=True,
        bad=(),
        refuses_outside=False,
    ),
    numerics=DEQUANTIZED,
)
BACKENDS = {"quanto": QUANTO}
