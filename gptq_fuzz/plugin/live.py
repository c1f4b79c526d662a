"""What a fuzz run says while it works: findings as they come, and a line that shows it at work.

The line is drawn in place on a terminal; elsewhere it is printed once in a while.
"""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live
from rich.text import Text

from gptq_fuzz.plugin.once import Once
from gptq_fuzz.search.kernel import KernelUnderTest

PLAIN_EVERY = 10.0  # seconds between two lines where nothing can be drawn in place


class LiveLine:
    """`fuzz: triton 412 cases (11.2/s), torch 3120 cases (70.1/s); 0 findings; 23 s left`"""

    def __init__(self, file, once: Once):
        self._once = once
        self._console = Console(file=file)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._started = time.monotonic()
        self._last_plain = self._started

    def __enter__(self) -> LiveLine:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_error) -> None:
        self._live.stop()

    def show(self, kernels: list[KernelUnderTest], findings: int, left: float) -> None:
        """Draw the line anew, or print it where the last one is old enough."""
        now = time.monotonic()
        text = self.text(kernels, findings, left, now - self._started)
        if self._console.is_terminal:
            self._live.update(Text(text), refresh=True)
        elif now - self._last_plain >= PLAIN_EVERY:
            self._last_plain = now
            self._console.print(text, soft_wrap=True, highlight=False)

    def tell(self, text: str) -> None:
        """Print something now, above the line; a finding is not printed whole again."""
        self._once.told(text)
        self._console.print(f"{text}\n", soft_wrap=True, highlight=False, markup=False)

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
