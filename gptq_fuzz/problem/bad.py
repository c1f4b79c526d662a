"""Invalid operands: what each `bad<name>` token does to a legal problem."""

from __future__ import annotations

import torch

from gptq_fuzz.case.case import Case


def invalidate(case: Case, left: torch.Tensor, weights: dict) -> tuple[torch.Tensor, dict]:
    """(left, weights) with the one operand that `case.bad` names made invalid, the rest kept."""
    if not case.bad:
        return left, weights
    weights = dict(weights)
    if weights["g_idx"] is None and case.bad in ("gidx", "neg", "glen", "gdtype"):
        rows = torch.arange(case.k, dtype=torch.int32, device=left.device)
        weights["g_idx"] = rows // case.rows_per_group
    return _DAMAGE[case.bad](case, left, weights)


def _with_g_idx(value):
    def damage(case: Case, left, weights):
        g_idx = weights["g_idx"].clone()
        g_idx[case.k // 2] = value(case)
        return left, weights | {"g_idx": g_idx}

    return damage


def _changed(name: str, change):
    return lambda case, left, weights: (left, weights | {name: change(weights[name])})


def _one_longer(tensor: torch.Tensor, dim: int) -> torch.Tensor:
    return torch.cat([tensor, tensor.narrow(dim, 0, 1)], dim)


_DAMAGE = {
    "gidx": _with_g_idx(lambda case: case.groups),
    "neg": _with_g_idx(lambda case: -1),
    "glen": _changed("g_idx", lambda g_idx: g_idx[:-1]),
    "gdtype": _changed("g_idx", torch.Tensor.float),
    "shape": lambda case, left, weights: (_one_longer(left, -1), weights),
    "zshape": _changed("qzeros", lambda qzeros: _one_longer(qzeros, 0)),
    "sshape": _changed("scales", lambda scales: _one_longer(scales, 1)),
    "dtype": lambda case, left, weights: (left.double(), weights),
    "wdtype": _changed("qweight", torch.Tensor.long),
    "zdtype": _changed("qzeros", torch.Tensor.short),
    "sdtype": _changed("scales", torch.Tensor.int),
    "bits": lambda case, left, weights: (left, weights | {"bits": 3 if case.bits != 3 else 9}),
    "rank": _changed("qweight", torch.Tensor.flatten),
    "device": lambda case, left, weights: (left.to("meta"), weights),
}
