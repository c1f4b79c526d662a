"""Pictures of the measured points: time over M with bound and peers, and the share of the bound."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from gptq_fuzz.bench.peers import CUBLAS
from gptq_fuzz.bench.table import stored_peers

INCHES = (4.2, 3.6)  # of one panel
DOTS = 110  # an inch
LEGEND_COLUMNS = 2  # below each panel
PEER_COLORS = {  # as the peers' data name them; the rest is grey
    "Marlin": "tab:purple",
    "Machete": "tab:pink",
    "ExLlamaV2": "tab:brown",
    "tinygemm": "tab:olive",
    "gemlite": "tab:cyan",
    "LoRAX Triton": "tab:gray",
}
OUR_COLORS = ("tab:blue", "tab:orange", "tab:green", "tab:red")


def draw(facts: list[dict], gpu: str, folder: Path) -> list[Path]:
    """A PNG for each kind of weights: a column per layer, time above, share of the bound below."""
    by_variant = defaultdict(list)
    for one in facts:
        by_variant[one["variant"]].append(one)
    return [_picture(name, some, gpu, folder / f"{name}.png") for name, some in by_variant.items()]


def _picture(variant: str, facts: list[dict], gpu: str, path: Path) -> Path:
    from matplotlib.figure import Figure  # not pyplot: no window, no state of its own

    layers = list(dict.fromkeys(one["layer"] for one in facts))
    size = (INCHES[0] * len(layers), INCHES[1] * 2)
    figure = Figure(figsize=size, dpi=DOTS, layout="constrained")
    panels = figure.subplots(2, len(layers), squeeze=False, sharex="col")
    peers = stored_peers(gpu)
    for column, layer in enumerate(layers):
        here = [one for one in facts if one["layer"] == layer]
        stored = [one for key, one in peers.items() if key[:2] == (variant, layer)]
        _times(panels[0, column], here, stored)
        _shares(panels[1, column], here, stored)
        panels[0, column].set_title(f"{variant}, K x N = {layer}")
    named = panels[0, 0].get_legend_handles_labels()
    figure.legend(
        *named, loc="outside lower center", ncols=LEGEND_COLUMNS * len(layers), fontsize="small"
    )
    figure.suptitle(f"{gpu}: GPTQ products, dashed: the bound by measured ceilings")
    figure.savefig(path)
    return path


def _times(panel, facts: list[dict], stored: list[dict]) -> None:
    """Microseconds over M: kernels and peers of this run, peers as stored, the bound."""
    for name, style, points in _lines(facts, stored):
        panel.plot(*zip(*points, strict=True), label=name, **style)
    bound = sorted({(one["m"], one["bound_us"]) for one in facts})
    panel.plot(*zip(*bound, strict=True), "k--", label="bound")
    panel.set(yscale="log", ylabel="us")
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_formatter("{x:.0f}")
    panel.grid(alpha=0.3)


def _shares(panel, facts: list[dict], stored: list[dict]) -> None:
    """Bound over time, 1 at best."""
    bounds = {one["M"]: one["bound_us"] for one in stored}
    bounds |= {one["m"]: one["bound_us"] for one in facts}
    for name, style, points in _lines(facts, stored):
        shares = [(m, bounds[m] / us) for m, us in points]
        panel.plot(*zip(*shares, strict=True), label=name, **style)
    panel.set(xlabel="M", ylabel="share of the bound", ylim=(0, 1.05))
    panel.grid(alpha=0.3)


def _lines(facts: list[dict], stored: list[dict]):
    """(label, style, [(M, us), ...]) of all that is drawn, the peers first."""
    for name in dict.fromkeys(peer for one in stored for peer in one["peers"]):
        if name == CUBLAS:  # measured in every run
            continue
        points = sorted((one["M"], one["peers"][name]) for one in stored if name in one["peers"])
        style = {"color": PEER_COLORS.get(name, "0.75"), "lw": 0.9, "marker": ".", "ms": 3}
        yield f"{name} (stored)", style, points
    for name in dict.fromkeys(peer for one in facts for peer in one["peers"]):
        at = {one["m"]: one["peers"][name] for one in facts if name in one["peers"]}
        color = "black" if name == CUBLAS else PEER_COLORS.get(name, "0.5")
        yield name, {"color": color, "marker": "x", "lw": 1.2}, sorted(at.items())
    for number, name in enumerate(dict.fromkeys(one["kernel"] for one in facts)):
        color = OUR_COLORS[number % len(OUR_COLORS)]
        points = sorted((one["m"], one["us"]) for one in facts if one["kernel"] == name)
        yield name, {"color": color, "marker": "o", "lw": 2.2}, points
