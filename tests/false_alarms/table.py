"""What a run says at its end: alarms, and the share of the bound that each kernel uses."""

from __future__ import annotations

from pathlib import Path

from tests.false_alarms.state import State
from tests.suite.case import FILLS

TABLE = Path(__file__).resolve().parent / "TABLE.md"
HALF = 0.5
SHOWN = tuple(fill for fill in FILLS if fill not in ("sparse", "nonfinite"))  # no bound there
HEAD = f"""\
# Correct kernels that round differently

Written by `python -m tests.false_alarms` from benchmarks/false_alarms.json. Shares: the most of
the bound that an error took, the last rounding left out; short sums (the bound is the worst case,
and may be reached) / long sums (the bound holds with a probability). A dash: nothing may round,
or nothing was seen to.

| kernel | cases | elements | alarms | core s | {" | ".join(SHOWN)} |
|{"---|" * (5 + len(SHOWN))}
"""


def render(state: State) -> str:
    """The table as Markdown."""
    rows = []
    for name, progress in sorted(state.kernels.items()):
        tally = progress.tally
        cells = [name, str(tally.cases), f"{tally.elements:.2g}", str(len(tally.alarms))]
        cells += [f"{tally.seconds:.0f}", *(cell(tally.used.get(fill, {})) for fill in SHOWN)]
        rows.append(f"| {' | '.join(cells)} |\n")
    return HEAD + "".join(rows)


def cell(lengths: dict[str, list]) -> str:
    """`0.09 / 0.01`, or a single share where only one length was judged."""
    shares = [lengths[length][0] for length in ("short", "long") if length in lengths]
    return " / ".join(f"{share:.2f}" for share in shares) if any(shares) else "-"


def findings(state: State) -> list[str]:
    """Alarms, and bounds on long sums that a correct kernel fills by more than a half."""
    told = []
    for name, progress in state.kernels.items():
        for alarm in progress.tally.alarms:
            told.append(f"ALARM {name} {alarm['line']} ({alarm['check']}): {alarm['said']}")
        for fill, lengths in progress.tally.used.items():
            share, line = lengths.get("long", [0.0, ""])
            if share > HALF:
                told.append(f"BOUND {name} uses {share:.2f} of it on {fill}: {line}")
    return told
