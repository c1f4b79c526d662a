"""`python -m gptq_fuzz`, and `python path/to/gptq_fuzz` where nothing is installed."""

import sys
from importlib.util import find_spec
from pathlib import Path

if not __package__:  # started by its path: this folder is on sys.path in place of the one above
    sys.path[0] = str(Path(__file__).resolve().parents[1])

NEEDED = ("filelock", "hypothesis", "pytest", "rich", "safetensors", "torch")

if __name__ == "__main__":
    if missing := [name for name in NEEDED if not find_spec(name)]:
        sys.stderr.write(f"{sys.executable} lacks {', '.join(missing)}: see Install in README.md\n")
        sys.exit(4)
    from gptq_fuzz.command import main

    sys.exit(main())
