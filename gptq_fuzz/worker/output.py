"""What a worker writes, in a pipe that is emptied while its answer is waited for: the end is kept.

No file is filled by a kernel that prints, and none has to be there when it has died.
"""

from __future__ import annotations

import os

KEPT = 2**14  # bytes
AT_ONCE = 2**16
MOST = 64  # times that much may lie in a pipe, or come while the end is asked for


class Output:
    """The parent's side; standard output and error of the process are `theirs`."""

    def __init__(self):
        self.file, self.theirs = os.pipe()
        os.set_blocking(self.file, False)
        self.is_open = True
        self._end = b""

    def begun(self) -> None:
        """The process has it now."""
        os.close(self.theirs)

    def take(self) -> bool:
        """Read some of what is there; whether there was any."""
        try:
            data = os.read(self.file, AT_ONCE)
        except BlockingIOError:
            return False
        self.is_open = bool(data)
        self._end = (self._end + data)[-KEPT:]
        return self.is_open

    def end(self) -> str:
        """The last that was written."""
        for _ in range(MOST):
            if not self.take():
                break
        return self._end.decode(errors="replace").strip()

    def close(self) -> None:
        os.close(self.file)
