"""What a campaign says while it runs, and at its end."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gptq_fuzz.campaign.campaign import Campaign
from gptq_fuzz.campaign.course import Course
from gptq_fuzz.plugin.live import InPlace
from gptq_fuzz.store.words import counted

NARROWEST = 100


class Shown(InPlace):
    """A campaign at work, and its summary."""

    def __init__(self, file=None):
        super().__init__(file or sys.stdout)

    def show(self, campaign: Campaign) -> None:
        """Draw the line anew, see `draw`."""
        self.draw(line_of(campaign))

    def tell(self, text: str) -> None:
        """Print something above the line."""
        self.print(text)

    def summary(self, campaign: Campaign) -> None:
        """A row for each kernel, and what else there is to know."""
        table = Table(box=None, pad_edge=False)
        for heading in ("kernel", "cases", "verdicts", "pairs", "triples", "findings"):
            table.add_column(heading, overflow="fold")
        for course in campaign.courses:
            table.add_row(*map(Text, _row(course)))
        width = max(self.console.width, NARROWEST)
        Console(file=self.console.file, width=width).print(table)
        for name, why in _left_out(campaign).items():
            self.tell(f"{name} left out: {why}")
        for name, asked in campaign.gone:
            self.tell(f"{name}: gone: {' '.join(asked)}")
        self.tell(line_of(campaign))
        if campaign.ended:
            self.tell(f"{campaign.ended}; another start goes on from {campaign.store.address}")


def line_of(campaign: Campaign) -> str:
    """`campaign: 412 cases (11.2/s), 2 workers, 3 findings, pairs 90.8%, ...; 23 s left`"""
    rate = campaign.cases / max(campaign.elapsed, 1e-9)
    parts = [f"campaign: {campaign.cases} cases ({rate:.1f}/s)"]
    parts += [counted(len(campaign.workers), "worker")]
    parts += [counted(len(campaign.findings), "finding")]
    for name in ("pairs", "triples"):
        seen = sum(getattr(course, name).bit_count() for course in campaign.courses)
        possible = sum(len(getattr(course.space, name)) for course in campaign.courses)
        parts.append(f"{name} {_percent(seen, possible)}")
    left = "" if campaign.left is None else f"; {max(campaign.left, 0):.0f} s left"
    return ", ".join(parts) + left


def _row(course: Course) -> list[str]:
    verdicts = " ".join(f"{kind} {count}" for kind, count in sorted(course.verdicts.items()))
    covered = [
        f"{_percent(bits.bit_count(), len(possible))} of {len(possible)}"
        for bits, possible in (
            (course.pairs, course.space.pairs),
            (course.triples, course.space.triples),
        )
    ]
    return [course.name, str(course.cases), verdicts, *covered, str(len(course.found))]


def _percent(some: int, whole: int) -> str:
    """All of them is 100% and nothing else is."""
    share = 100.0 * some / whole if whole else 100.0
    return f"{'100' if some == whole else format(min(share, 99.9), '.1f')}%"


def _left_out(campaign: Campaign) -> dict[str, str]:
    late = {course.name: course.left_out for course in campaign.courses if course.left_out}
    return campaign.left_out | late
