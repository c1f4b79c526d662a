"""All binaries, over all cores; what was compiled before is read from a cache.

The cache holds one small file per binary, named by the content that it depends on, in the folder
gptq_fuzz/aot below the first that is set of TRITON_CACHE_DIR and XDG_CACHE_HOME, else ~/.cache.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import tempfile
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from triton.errors import TritonError

from .jit import compile_variant, fingerprint
from .resources import Built, Resources
from .variants import Variant

LONGEST_MESSAGE = 200  # characters of a compiler's complaint


def build(variants: list[Variant]) -> dict[Variant, Built]:
    """In the order given."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return dict(zip(variants, pool.map(_built, variants), strict=True))


def _built(variant: Variant) -> Built:
    place = cache_folder() / fingerprint(variant)
    try:
        return Built(Resources(**json.loads(place.read_text())))
    except (OSError, ValueError, TypeError):  # not there, or damaged
        pass
    try:
        built = isolated(attempt, variant)
    except ChildProcessError as death:
        return Built(None, f"the compiler died: {death}")
    if built.resources is not None:  # a failure is not kept: memory may have run out
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = place.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(built.resources._asdict()))
        fresh.replace(place)
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


def isolated(function: Callable, given):
    """function(given), in a process that may die: then a ChildProcessError with its last words.

    What `function` raises comes back as a RuntimeError.
    """
    # Forks of a server that has imported the function's module and done nothing else: they start
    # at once, and inherit no thread of ours.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([function.__module__])
    ours, theirs = context.Pipe(duplex=False)
    with tempfile.NamedTemporaryFile(suffix=".log") as log, ours:
        process = context.Process(target=_answer, args=(function, given, theirs, log.name))
        process.start()
        theirs.close()
        try:
            problem, answer = ours.recv()
        except EOFError:
            process.join()
            words = " ".join(log.read().decode(errors="replace").split())[-LONGEST_MESSAGE:]
            raise ChildProcessError(f"exit status {process.exitcode} {words}".rstrip()) from None
        process.join()
    if problem:
        raise RuntimeError(problem)
    return answer


def _answer(function: Callable, given, pipe, log: str) -> None:
    # By descriptor, as compilers write there: they print whole sources when they fail.
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    try:
        pipe.send(("", function(given)))
    except Exception:  # noqa: BLE001 whatever it is, the parent raises it
        pipe.send((traceback.format_exc(), None))
