"""The line that shows a run at work: on a terminal in place, elsewhere once in a while."""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live
from rich.text import Text

PLAIN_EVERY = 20.0  # seconds between two lines where nothing can be drawn in place


class Progress:
    """`mutants: 120 of 651 scored, 113 killed, 7 survive; 12 min so far, 48 min left`"""

    def __init__(self, console: Console):
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._started = self._last_plain = time.monotonic()
        self._known: int | None = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_error) -> None:
        self._live.stop()

    def show(self, text: str, done: int, total: int) -> None:
        """Draw the line anew, or print it where the last one is old enough."""
        now = time.monotonic()
        text = f"{text}; {self._times(done, total, now - self._started)}"
        if self._console.is_terminal:
            self._live.update(Text(text), refresh=True)
        elif now - self._last_plain >= PLAIN_EVERY:
            self._last_plain = now
            self._console.print(text, soft_wrap=True, highlight=False)

    def _times(self, done: int, total: int, elapsed: float) -> str:
        """What was known before this run says nothing about its speed."""
        if self._known is None:
            self._known = done
        fresh = done - self._known
        left = f", {elapsed / fresh * (total - done) / 60:.0f} min left" if fresh else ""
        return f"{elapsed / 60:.0f} min so far{left}"
