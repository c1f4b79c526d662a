"""How a command that starts the suite again is written: what can be pasted where it was printed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from gptq_fuzz._checkout import IS_CHECKOUT, PACKAGE, ROOT


def python_word() -> str:
    """What a shell calls this interpreter: `python`, `python3`, else its path."""
    for name in ("python", "python3"):
        found = shutil.which(name)
        if found and Path(found).parent == Path(sys.executable).parent:
            return name
    return sys.executable


def command_words() -> list[str]:
    """The words before the options of a command that starts the suite again from this folder."""
    script = shutil.which("gptq-fuzz")
    if script and Path(script).parent == Path(sys.executable).parent:
        return ["gptq-fuzz"]
    if not IS_CHECKOUT or Path.cwd() == ROOT:
        return [python_word(), "-m", "gptq_fuzz"]
    return [python_word(), str(PACKAGE)]
