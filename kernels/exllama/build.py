"""Builds the ExLlama extension on first use: for the GPUs at hand, or for the CPU.

torch.utils.cpp_extension knows the paths, the flags and the architectures. Its load() is not used:
it wants ninja, takes .cu files to nvcc only, and waits for ever on the lock of a killed process.
"""

import concurrent.futures
import contextlib
import functools
import hashlib
import importlib.machinery
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

import torch
from torch.utils import cpp_extension

from ..atomic_write import replacing
from .toolchain import CannotBuild, cuda_recipe, host_recipe

SOURCES = Path(__file__).resolve().parent / "ext"
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
COMPILE_LIMIT = 1800.0  # seconds for one source: who waits for a build waits for an end
TAIL = 30  # lines of a compiler's output that an error shows
_loading = threading.Lock()


class BuildFailed(CannotBuild):
    """A compiler failed; the message holds the end of its output."""


@functools.cache
def extension(kind):
    """The extension module for tensors on a "cpu" or on "cuda", built if need be.

    Raises CannotBuild where a compiler is missing, BuildFailed where it fails.
    """
    with _loading:
        recipe = cuda_recipe() if kind == "cuda" else host_recipe()
        path = build(recipe, SOURCES)
        loader = importlib.machinery.ExtensionFileLoader(recipe.name, str(path))
        spec = importlib.util.spec_from_file_location(recipe.name, path, loader=loader)
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
        return module


def build(recipe, sources):
    """Path of the shared library, from the cache where it is intact; processes take turns."""
    units = _units(recipe, sources)
    library = _library_of(recipe, units)
    if _is_intact(library):
        return library
    with _build_lock(library, recipe):
        if not _is_intact(library):
            _build(recipe, units, library)
    return library


def _library_of(recipe, units):
    """Where the library of these sources, commands and versions lies, or will."""
    digest = _digest(recipe.link, recipe.versions, *units.values())
    return _cache(recipe) / f"{digest}.so"


def _units(recipe, sources):
    """Source file -> what its object file depends on: all that it includes, and its command."""
    chosen = [path for path in sorted(sources.glob("*")) if path.suffix in recipe.compile]
    chosen = [path for path in chosen if path.name not in recipe.without]
    if not chosen:
        raise CannotBuild(f"{recipe.what} has no sources in {sources}")
    return {
        path: _digest(
            recipe.compile[path.suffix],
            recipe.versions,
            *((str(part.relative_to(sources)), part.read_bytes()) for part in _closure(path)),
        )
        for path in chosen
    }


def _closure(source):
    """The file and, in order of appearance, every file of ours that it includes."""
    found = [source]
    for path in found:  # grows while it is walked
        for name in INCLUDE.findall(path.read_text()):
            included = (path.parent / name).resolve()
            if included.is_file() and included not in found:
                found.append(included)
    return found


def _build(recipe, units, library):
    started = time.monotonic()
    _report(f"building {recipe.what}, once for these sources and this torch ...")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        compiled = pool.map(lambda unit: _object_of(recipe, *unit, library.parent), units.items())
        objects = [str(path) for path in compiled]
    with replacing(library) as beside:
        try:
            _run(recipe, [recipe.link[0], "-o", str(beside), *objects, *recipe.link[1:]])
        except BuildFailed:
            for path in objects:  # one of them may be damaged
                os.unlink(path)
            raise
        _checksum_of(library).write_text(_digest(beside.read_bytes()))
    _report(f"built in {time.monotonic() - started:.0f} s: {library}")


def _object_of(recipe, source, digest, folder):
    """The object file of one source; kept, so that another kernel file does not cost the rest."""
    path = folder / f"{source.stem}-{digest}.o"
    if not path.exists():
        with replacing(path) as beside:
            command = recipe.compile[source.suffix]
            _run(recipe, [*command, "-c", str(source), "-o", str(beside)])
    return path


def _run(recipe, command):
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=COMPILE_LIMIT,
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        raise BuildFailed(
            f"{recipe.what} could not be built: after {COMPILE_LIMIT:g} s there was no end of\n"
            f"{shlex.join(command)}"
        ) from late
    if ended.returncode:
        output = ended.stdout.decode(errors="replace").strip().splitlines()
        raise BuildFailed(
            f"{recipe.what} could not be built: {command[0]} ended with exit status "
            f"{ended.returncode}\n{shlex.join(command)}\n"
            + ("\n".join(output[-TAIL:]) or "(no output)")
        )


@contextlib.contextmanager
def _build_lock(library, recipe):
    """Hold the lock of a library. The system drops it when its holder ends, in whatever way.

    Not by `filelock`: on file systems without locks, its versions wait for ever, raise, or leave a
    file that holds others up when its owner is killed.
    """
    import fcntl

    with open(library.with_suffix(".lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _report(f"waiting for another process that builds {recipe.what} ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks: files are put in place whole, so twice is harmless
        yield


def _is_intact(library):
    """Whether the library is there with the bytes that were built: a cut one kills the process."""
    try:
        return _digest(library.read_bytes()) == _checksum_of(library).read_text()
    except OSError:
        return False


def _checksum_of(library):
    return library.with_suffix(".sha256")


def _cache(recipe):
    root = os.environ.get("TORCH_EXTENSIONS_DIR") or cpp_extension.get_default_build_root()
    tag = f"py{sys.version_info.major}{sys.version_info.minor}-torch{torch.__version__}"
    folder = Path(root, recipe.name, tag)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise CannotBuild(
            f"the ExLlama extension needs a folder to be built in, {folder} cannot be created "
            f"({problem.strerror}): set TORCH_EXTENSIONS_DIR to one that can be written"
        ) from problem
    return folder


def _digest(*parts):
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(part if isinstance(part, bytes) else repr(part).encode())
    return hashed.hexdigest()[:32]


def _report(text):
    sys.stderr.write(f"gptq-fuzz: {text}\n")
    sys.stderr.flush()
