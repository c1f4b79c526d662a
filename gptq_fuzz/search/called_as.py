"""How a command that starts the suite again is written: what can be pasted where it was printed."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from gptq_fuzz._checkout import IS_CHECKOUT, PACKAGE, ROOT

TOX = "TOX_ENV_DIR"  # the variable that holds the environment which tox runs a command in


def python_word() -> str:
    """What a shell calls this interpreter: `python`, `python3`, else its path."""
    return next(filter(_is_called, ("python", "python3")), sys.executable)


def _is_called(name: str) -> bool:
    """Whether a shell finds that name beside this interpreter; tox's PATH is not the shell's."""
    found = shutil.which(name)
    is_of_tox = Path(sys.executable).is_relative_to(os.environ.get(TOX, os.devnull))
    return bool(found) and Path(found).parent == Path(sys.executable).parent and not is_of_tox


def command_words() -> list[str]:
    """The words before the options of a command that starts the suite again from this folder."""
    if _is_called("gptq-fuzz"):
        return ["gptq-fuzz"]
    if not IS_CHECKOUT or Path.cwd() == ROOT:
        return [python_word(), "-m", "gptq_fuzz"]
    return [python_word(), str(PACKAGE)]
