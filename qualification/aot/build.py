"""All binaries, over all cores; what was compiled before is read from a cache.

The cache holds one small file per binary, named by the content that it depends on, in the folder
gptq_fuzz/aot below the first that is set of TRITON_CACHE_DIR and XDG_CACHE_HOME, else ~/.cache.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from triton.errors import TritonError

from .isolate import run_all
from .jit import compile_variant, fingerprint
from .resources import Built, Resources
from .variants import Variant

LONGEST_MESSAGE = 200  # characters of a compiler's complaint


def build(variants: list[Variant], advance: Callable[[], object]) -> dict[Variant, Built]:
    """In the order given; `advance` is called once for each."""
    built = {variant: _load(variant) for variant in variants}
    missing = [variant for variant in variants if built[variant] is None]
    for _ in range(len(variants) - len(missing)):
        advance()
    for variant, result in run_all(attempt, missing, len(os.sched_getaffinity(0))):
        if isinstance(result, ChildProcessError):
            result = Built(None, f"the compiler died: {result}")
        built[variant] = result
        _store(variant, result)
        advance()
    return built


def attempt(variant: Variant) -> Built:
    """Where the compiler refuses, its words: the tuner takes the same exceptions for a refusal."""
    try:
        return Built(compile_variant(variant))
    except (TritonError, RuntimeError) as error:
        return Built(None, f"{type(error).__name__}: {gist_of(error)}")


def gist_of(error: BaseException) -> str:
    """One line: of the first cause, without the source around it and names of temporary files."""
    while error.__cause__ is not None:
        error = error.__cause__
    message = getattr(error, "error_message", None) or str(error)
    message = re.sub(re.escape(tempfile.gettempdir()) + r"/[^\s,]*", "a file", message)
    return " ".join(message.split())[:LONGEST_MESSAGE]


def cache_folder() -> Path:
    places = (os.environ.get(name) for name in ("TRITON_CACHE_DIR", "XDG_CACHE_HOME"))
    return Path(next(filter(None, places), Path.home() / ".cache")) / "gptq_fuzz" / "aot"


def _load(variant: Variant) -> Built | None:
    """None for what is not there, and for a file that something has damaged."""
    try:
        counts = json.loads((cache_folder() / fingerprint(variant)).read_text())
        return Built(Resources(**counts))
    except (OSError, ValueError, TypeError):
        return None


def _store(variant: Variant, built: Built) -> None:
    """Atomically. A failure is not kept: memory may have run out."""
    if built.resources is None:
        return
    path = cache_folder() / fingerprint(variant)
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = path.with_suffix(f".{os.getpid()}")
    mine.write_text(json.dumps(built.resources._asdict()))
    mine.replace(path)
