"""Layers of models in use: their K and N, each with the rows of decoding and of a prefill.

Of large ones some columns are judged, see oracle/panel.py.
"""

from __future__ import annotations

from gptq_fuzz.case.axes import WHOLE_GROUP
from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.models import NAMES
from gptq_fuzz.search.series import must_pass_series
from gptq_fuzz.search.sweep import choose, rotated

SERIES = "layers"
ROWS = (*range(1, 17), 64, 65, 512, 1025, 4096)
SECONDS = {"cpu": 5.0, "cuda": 60.0}
# A correct kernel may hold all products at once; on a host that is 2 GiB of float32 here.
PRODUCTS_ON_A_HOST = 2**29
ON_A_HOST = 2**26  # weights
GROUP_SIZES = (128, 32, 64, WHOLE_GROUP)
LARGEST_SEED = 9999


def layer_cases(limits: Limits, seed: int = 0) -> list[Case]:
    """Every layer within the limits with every number of rows: each layer once, then once more."""
    found = []
    shapes = sorted(NAMES, key=lambda shape: shape[0] * shape[1])
    for turn in range(len(ROWS)):
        for place, (k, n) in enumerate(shapes):
            key = f"{k} {n} {turn}"
            sizes = {"n": n, "k": k, "m": ROWS[(turn + place) % len(ROWS)]}
            sizes["bits"] = choose(limits.bits, key, "bits")
            sizes["group_size"] = choose(limits.group_sizes or GROUP_SIZES, key, "group")
            sizes["seed"] = (seed + len(found)) % LARGEST_SEED  # which chooses the columns too
            if limits.ranks[0] != 1 or sizes["m"] == 1:
                found.append(rotated(limits, key, seed, **sizes))
    return [case for case in found if not limits.violations(case) and (case.k, case.n) in NAMES]


def must_pass_layers(kernel: KernelUnderTest, seed: int, of_time: float = 1.0) -> None:
    """Judge layers for as long as there is time. Raises Failure."""
    place = kernel.worker.description["place"].split(":")[0]
    must_pass_series(
        kernel,
        SERIES,
        layer_cases(kernel.limits, seed),
        of_time * SECONDS[place],
        seed,
        label=lambda case: NAMES[case.k, case.n],
        excuse=_too_large if place == "cpu" else lambda case: "",
    )


def _too_large(case: Case) -> str:
    is_held = case.m * case.n * case.k <= PRODUCTS_ON_A_HOST and case.n * case.k <= ON_A_HOST
    return "" if is_held else "too large for a CPU"
