"""What a run says at its end: alarms, and the share of the bound that each kernel uses."""

from __future__ import annotations

import re
from pathlib import Path

from gptq_fuzz.case.case import FILLS
from qualification.false_alarms.state import State

TABLE = Path(__file__).resolve().parent / "TABLE.md"
README = TABLE.parents[2] / "README.md"
BLOCK = re.compile(r"(?<=<!-- false alarms -->\n).*(?=<!-- false alarms end -->)", re.DOTALL)
HALF = 0.5
SHOWN = tuple(fill for fill in FILLS if fill not in ("sparse", "nonfinite"))  # no bound there
HEAD = f"""\
# Correct kernels that round differently

Written by `python -m qualification.false_alarms` from benchmarks/false_alarms.json. Shares: the most of
the bound that an error took, the last rounding left out; short sums (the bound is the worst case,
and may be reached) / long sums (the bound holds with a probability). A dash: nothing may round,
or nothing was seen to. `tf32_truncated` cuts both operands toward zero: on average that takes half
of the worst case |x| @ d, which is the bound wherever few terms make up a sum, however long it is.

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


def readme(text: str, state: State) -> str:
    """README's text with its figures made anew."""
    tallies = [progress.tally for progress in state.kernels.values()]
    cases, elements = (sum(getattr(t, name) for t in tallies) for name in ("cases", "elements"))
    alarms = sum(len(tally.alarms) for tally in tallies)
    rows = [
        "| kernels | cases | elements judged | false alarms | most of a bound on long sums |",
        "|---|---|---|---|---|",
        f"| {len(tallies)} | {cases} (each {min(t.cases for t in tallies)} or more) "
        f"| {elements:.2g} (each {min(t.elements for t in tallies):.2g} or more) "
        f"| {alarms} | {_largest(state)} |",
    ]
    return BLOCK.sub(lambda _: "\n".join(rows) + "\n", text)


def _largest(state: State) -> str:
    """`0.31 (pairwise, randn)`: of all kernels and fills, where a probability is the bound."""
    shares = [
        (lengths["long"][0], name, fill)
        for name, progress in state.kernels.items()
        for fill, lengths in progress.tally.used.items()
        if "long" in lengths
    ]
    share, name, fill = max(shares, default=(0.0, "none", "none"))
    return f"{share:.2f} ({name}, {fill})"


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
