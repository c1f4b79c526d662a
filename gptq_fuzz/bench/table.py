"""The measured points as a Markdown table, beside the peers' figures where the GPU is theirs."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict

from gptq_fuzz.bench import BENCHMARKS
from gptq_fuzz.bench.peers import CUBLAS

PEERS_FOLDER = BENCHMARKS / "peers"
NO_GPU = "cpu"  # the name of the GPU where there is none: no cuBLAS, no bound of its memory
BEST = (("best CUDA peer", "cuda"), ("best Triton peer", "triton"))


def stored_peers(gpu: str) -> dict:
    """(variant, layer, M) -> what was measured on that model of GPU; empty for others."""
    found = {}
    for path in sorted(PEERS_FOLDER.glob("*.json")):
        data = json.loads(path.read_text())
        if data["gpu"] == gpu:
            for one in data["points"]:
                found[one["variant"], f"{one['K']}x{one['N']}", one["M"]] = one
    return found


def table(facts: list[dict], gpu: str) -> str:
    """A row for each problem; a column of time and one of speedup over cuBLAS for each kernel.

    Without a GPU over torch's own float16 product.
    """
    is_gpu = gpu != NO_GPU
    kernels = list(dict.fromkeys(one["kernel"] for one in facts))
    rows, peers = defaultdict(dict), stored_peers(gpu)
    for one in facts:
        rows[one["variant"], one["layer"], one["m"]][one["kernel"]] = one
    live = sorted({name for one in facts for name in one["peers"]} - {CUBLAS})
    heads = ["weights", "K x N", "M", *(("cuBLAS us", "bound us") if is_gpu else ("torch us",))]
    columns = ("us", "speedup", "of bound")[: 3 if is_gpu else 2]
    heads += [f"{kernel} {what}" for kernel in kernels for what in columns]
    heads += [f"{name} speedup" for name in live]
    heads += [name for name, _ in BEST] if peers else []
    lines = [heads, ["---"] * len(heads)]
    for place, by_kernel in rows.items():
        lines.append(_row(place, by_kernel, kernels, live, peers, is_gpu))
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _row(place, by_kernel: dict, kernels, live, peers, is_gpu: bool) -> list[str]:
    any_of = next(iter(by_kernel.values()))
    cublas = statistics.median(one["peers"][CUBLAS] for one in by_kernel.values())
    cells = [*map(str, place), f"{cublas:.2f}", *[f"{any_of['bound_us']:.2f}"] * is_gpu]
    for kernel in kernels:
        cells += _cells(by_kernel.get(kernel))[: 3 if is_gpu else 2]
    for name in live:
        us = any_of["peers"].get(name)
        cells.append(f"{cublas / us:.2f}" if us else "")
    return cells + _best(place, peers)


def _cells(one: dict | None) -> list[str]:
    if one is None:
        return [""] * 3
    share = f"{one['share_of_bound']:.0%}"
    return [f"{one['us']:.2f}", f"{one['speedup_over_cublas']:.2f}", share]


def _best(place, peers: dict) -> list[str]:
    if not peers:
        return []
    stored = peers.get(place, {})
    best = [stored.get(key) for _, key in BEST]
    return [f"{one['peer']} {one['speedup']:.2f}" if one else "" for one in best]
