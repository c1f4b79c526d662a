"""Environment variables between a parent and its worker, and where Hypothesis keeps its files."""

from __future__ import annotations

import os
from pathlib import Path

UNTIMED = "GPTQ_FUZZ_UNTIMED"  # timings mean nothing: a sanitizer runs


def hypothesis_home() -> Path:
    """Where Hypothesis keeps what it finds out about the machine: not in a user's folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "gptq-fuzz", "hypothesis")
