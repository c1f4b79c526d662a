"""Drawings of a page, as SVG made of numbers alone."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

SIDE = 4  # units of a cell
BAR, HIGH = 14, 48  # units of a histogram


def picture(wrong: dict) -> Markup:
    """The wrong cells of a picture, and the borders of tiles and groups."""
    high, wide = (max(side, 1) for side in (wrong["cell"] + [1, 1])[:2])
    rows, columns = len(wrong["wrong"]), -(-wrong["columns"] // wide)
    width, height = columns * SIDE, rows * SIDE
    runs = "".join(
        f"M{first * SIDE} {row * SIDE}h{(end - first) * SIDE}v{SIDE}h-{(end - first) * SIDE}z"
        for row, text in enumerate(wrong["wrong"])
        for first, end in _runs(int(text, 16), columns)
    )
    lines = "".join(f"M0 {at / high * SIDE:g}h{width}" for at in wrong["down"])
    lines += "".join(f"M{at / wide * SIDE:g} 0v{height}" for at in wrong["across"])
    return Markup(
        f'<svg class="picture" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img"><rect width="{width}" height="{height}"/>'
        f'<path class="wrong" d="{runs}"/><path class="border" d="{lines}"/></svg>'
    )


def _runs(bits: int, columns: int) -> Iterator[tuple[int, int]]:
    """(first, end) of each run of ones."""
    at = 0
    while bits >> at and at < columns:
        at += ((bits >> at) & -(bits >> at)).bit_length() - 1
        ones = ~(bits >> at)
        length = (ones & -ones).bit_length() - 1
        yield at, min(at + length, columns)
        at += length


def histogram(counts: list[int]) -> Markup:
    """A bar for each bin, as high as its share; one that holds any is seen."""
    most = max([*counts, 1])
    bars = "".join(
        f"M{place * BAR + 1} {HIGH}v-{max(count / most * HIGH, 1.5):.4g}h{BAR - 2}V{HIGH}z"
        for place, count in enumerate(counts)
        if count > 0
    )
    width = len(counts) * BAR
    return Markup(
        f'<svg class="histogram" viewBox="0 0 {width} {HIGH}" width="{width}" height="{HIGH}" '
        f'role="img"><path class="bar" d="{bars}"/>'
        f'<path class="border" d="M0 {HIGH}h{width}"/></svg>'
    )
