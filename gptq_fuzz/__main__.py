"""`python -m gptq_fuzz`, and `python path/to/gptq_fuzz` where nothing is installed."""

import sys
from pathlib import Path

if not __package__:  # started by its path: this folder is on sys.path in place of the one above
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from gptq_fuzz.command import main

if __name__ == "__main__":
    sys.exit(main())
