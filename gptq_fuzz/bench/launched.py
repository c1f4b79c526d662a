"""Which launch config a kernel of ours took for a case that it has just run."""

from __future__ import annotations

import torch

from gptq_fuzz.case.case import Case

SIDES = {"BLOCK_SIZE_M": "BM", "BLOCK_SIZE_N": "BN", "BLOCK_SIZE_K": "BK"}
NOT_OURS = "not known"


def launch_config(spec: str, case: Case) -> str:
    """`matmul_248_kernel BM64.BN64.BK64.w4.st4`, `few16.BK128.shares8`, what the line forces.

    `not known` for kernels that are not ours.
    """
    if case.extra:
        return "-".join(name + value for name, value in case.extra)
    if spec != "triton":
        return NOT_OURS
    from gptq_fuzz.kernels import triton_matmul

    tuners = {
        name: one for name, one in vars(triton_matmul).items() if hasattr(one, "prune_configs")
    }
    chosen = [
        f"{name} {config}" for name, tuner in tuners.items() for config in _winners(tuner, case)
    ]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return ", ".join(chosen) or plan_of(case, torch.empty(0, device=device).device)


def plan_of(case: Case, device: torch.device) -> str:
    """Of the kernels for groups of one size: what no tuner chose a config for, went to them."""
    from gptq_fuzz.kernels.uniform_groups import plan as plans
    from gptq_fuzz.kernels.uniform_groups import wgmma

    if not plans.takes(case.rows_per_group, case.bits):
        return NOT_OURS
    sizes = (case.m, case.n, case.k, case.bits, case.rows_per_group)
    ordered, tma = case.g_idx != "seq", wgmma.usable(device) and case.n * case.bits % 128 == 0
    tile, block_k, shares = plans.plan(*sizes, plans.processors(device), ordered, tma=tma)
    return f"{tile.name}.BK{block_k}.shares{shares}"


def _winners(tuner, case: Case) -> list[str]:
    """Of the keys whose values are those of the case: M, N, K and bits are among their names."""
    sizes = {"M": case.m, "N": case.n, "K": case.k, "bits": case.bits}
    found = {}
    for kept in tuner.cache.values():
        for exact, winner in kept.items():
            values = dict(zip(tuner.key, exact, strict=True))
            if all(values.get(name, size) == size for name, size in sizes.items()):
                found[config_name(winner.config)] = True
    return list(found)


def config_name(config) -> str:
    """`BM64.BN64.BK64.w4.st4`"""
    sides = [f"{SIDES[name]}{value}" for name, value in config.kwargs.items() if name in SIDES]
    return ".".join([*sides, f"w{config.num_warps}", f"st{config.num_stages}"])
