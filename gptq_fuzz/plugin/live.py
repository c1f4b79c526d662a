"""What a fuzz run says while it works: findings as they come, and a line that shows it at work.

The line is drawn in place on a terminal; elsewhere it is printed once in a while.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from gptq_fuzz.plugin.once import Once
from gptq_fuzz.search.kernel import KernelUnderTest

if TYPE_CHECKING:
    from typing import Self

PLAIN_EVERY = 10.0  # seconds between two lines where nothing can be drawn in place


class InPlace:
    """A line that is drawn in place on a terminal, and printed now and then elsewhere."""

    def __init__(self, file):
        self.console = Console(file=file)
        self._live = Live(console=self.console, auto_refresh=False, transient=True)
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_error) -> None:
        self._live.stop()

    def draw(self, text: str) -> None:
        """Draw the line anew, or print it where the last one is old enough."""
        now = time.monotonic()
        if self.console.is_terminal:
            self._live.update(Text(text), refresh=True)
        elif now - self._last >= PLAIN_EVERY:
            self._last = now
            self.print(text)

    def print(self, text: str) -> None:
        """Something above the line."""
        self.console.print(text, soft_wrap=True, highlight=False, markup=False)


class LiveLine(InPlace):
    """`fuzz: triton 412 cases (11.2/s), torch 3120 cases (70.1/s); 0 findings; 23 s left`"""

    def __init__(self, file, once: Once):
        super().__init__(file)
        self._once, self._started = once, time.monotonic()

    def show(self, kernels: list[KernelUnderTest], findings: int, left: float) -> None:
        """Draw the line anew, see `draw`."""
        self.draw(self.text(kernels, findings, left, time.monotonic() - self._started))

    def tell(self, text: str) -> None:
        """Print something now, above the line; a finding is not printed whole again."""
        self._once.told(text)
        self.print(f"{text}\n")

    @staticmethod
    def text(kernels: list[KernelUnderTest], findings: int, left: float, elapsed: float) -> str:
        """What the line says."""
        parts = [
            f"{kernel.spec} {kernel.coverage.judged} cases "
            f"({kernel.coverage.judged / max(elapsed, 1e-9):.1f}/s)"
            for kernel in kernels
        ]
        noun = "finding" if findings == 1 else "findings"
        return f"fuzz: {', '.join(parts)}; {findings} {noun}; {max(left, 0):.0f} s left"
