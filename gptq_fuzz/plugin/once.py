"""Each finding is printed once: what a later test found again is a line that points back."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from gptq_fuzz.search.findings import NOT_REPRODUCED, REPRODUCE, SEEN_OFTEN

HIDDEN = ("no", "line")  # values of --tb under which pytest prints no text of a failure


class Once:
    """Reads the reports of tests as they come, in the process that prints them."""

    def __init__(self, style: str):
        self._is_hidden = style in HIDDEN
        self._told: set[str] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report):
        """Shorten what was told before. Blocks of one report are apart by an empty line."""
        text = str(report.longrepr).strip()  # without the name of xdist's worker
        if not report.failed or not is_finding(text):
            return
        blocks = text.split("\n\n")
        told = [title_of(block) in self._told for block in blocks]
        if any(told):
            pairs = zip(blocks, told, strict=True)
            report.longrepr = "\n\n".join(again(b) if is_old else b for b, is_old in pairs)
        self._told |= {title_of(block) for block in blocks}

    def pytest_terminal_summary(self, terminalreporter):
        """Where CI is set, pytest's list of failures at the end would hold each text whole."""
        for outcome in ("failed", "error"):
            for report in terminalreporter.stats.get(outcome, ()):
                if is_finding(text := str(report.longrepr)):
                    report.longrepr = title_of(text)

    def told(self, text: str) -> None:
        """Note what was printed while a test ran."""
        if is_finding(text):
            self._told.add(title_of(text))

    def left(self, texts: list[str]) -> list[str]:
        """Those of the findings' texts that no failure of a test showed, each once."""
        told = set() if self._is_hidden else self._told
        return [text for text in of_each(texts, title_of) if title_of(text) not in told]


def of_each(entries: Iterable, key: Callable) -> list:
    """The first of those that have the same key."""
    found = {}
    for entry in entries:
        found.setdefault(key(entry), entry)
    return list(found.values())


def is_finding(text: str) -> bool:
    return text.startswith((REPRODUCE, NOT_REPRODUCED, SEEN_OFTEN))


def title_of(text: str) -> str:
    """The first line, which names kernel and case."""
    return text.strip().partition("\n")[0]


def again(text: str) -> str:
    return f"as above: {title_of(text).removeprefix(REPRODUCE)}"
