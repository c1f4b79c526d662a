"""What a person reads after a run: a row per architecture, kernel and alignment."""

from __future__ import annotations

from collections import defaultdict

from rich.table import Table

from .architectures import ARCHITECTURES, KIB, Architecture
from .resources import Built, Resources
from .variants import Variant

COLUMNS = ("arch", "kernel", "", "binaries", "shared KiB", "registers", "spilling", "stack B",
           "scalars", "cannot run")  # fmt: skip


def summary(built: dict[Variant, Built]) -> Table:
    """How many binaries there are, spill and cannot run, and the most that any of them needs.

    `stack B` is of a thread, `scalars` are spilled scalar registers of a wave (AMD).
    """
    table = Table(*COLUMNS, box=None, pad_edge=False)
    for column in table.columns[3:]:
        column.justify = "right"
    rows = defaultdict(list)
    for variant, made in built.items():
        alignment = "aligned" if variant.aligned else "unaligned"
        rows[variant.arch, variant.kernel, alignment].append(made)
    for row, members in rows.items():
        table.add_row(*row, *_cells(ARCHITECTURES[row[0]], members))
    return table


def _cells(limits: Architecture, members: list[Built]) -> list[str]:
    needs = [made.resources for made in members if made.resources]
    runnable = [need for need in needs if not limits.lacks(need)]
    return [
        str(len(members)),
        f"{-(-_most(needs, 'shared') // KIB)} of {limits.shared // KIB}",
        str(_most(needs, "registers")),
        str(sum(need.spills for need in needs)),
        str(_most(needs, "stack")),
        str(_most(needs, "spilled_scalars")),
        str(len(members) - len(runnable)),
    ]


def _most(needs: list[Resources], name: str) -> int:
    return max((getattr(need, name) for need in needs), default=0)
