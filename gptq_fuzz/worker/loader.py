"""From the word after `--kernel` to a Backend."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
import types
from importlib.machinery import PathFinder
from pathlib import Path

from gptq_fuzz.case.axes import FRACTIONS
from gptq_fuzz.case.backend import KEYWORDS, Backend, from_callable
from gptq_fuzz.worker import packages

# Named lazily: only the kernel that is asked for is imported.
BUILT_IN = {
    "triton": ("gptq_fuzz.adapters.triton", "TRITON"),
    "exllama": ("gptq_fuzz.adapters.exllama", "EXLLAMA"),
    "torch": ("gptq_fuzz.adapters.control", "TORCH"),
}


class LoadError(Exception):
    """The kernel cannot be put under test; its message names what was wanted and what came."""


def load(spec: str, started_in: str) -> Backend:
    """The Backend behind a built-in name, that of a package, `module:attribute` or
    `path.py:attribute`.

    A path is relative to `started_in`. Raises LoadError, also for whatever the import raises.
    """
    if spec in BUILT_IN:
        module, attribute = BUILT_IN[spec]
        return getattr(importlib.import_module(module), attribute)
    from gptq_fuzz.worker.drawn_times import tuned
    from gptq_fuzz.worker.stand_in import stand_in_for_a_gpu

    stand_in_for_a_gpu()
    return tuned(_foreign(spec, started_in))


def _foreign(spec: str, started_in: str) -> Backend:
    if packages.split(spec)[0]:
        return _as_backend(_guarded(lambda: packages.find(spec), spec), spec)
    place, colon, attribute = spec.rpartition(":")
    if not colon or not place or not attribute:
        names = ", ".join((*BUILT_IN, *packages.PACKAGES))
        raise LoadError(
            f"--kernel {spec}: wanted {names}, package.module:attribute "
            f"or path/to/file.py:attribute"
        )
    module = _import(place, started_in, spec)
    found = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            names = ", ".join(key for key in vars(module) if not key.startswith("_"))
            raise LoadError(f"--kernel {spec}: {place} has no {attribute!r}; it has {names}")
        found = getattr(found, name)
    return _as_backend(found, spec)


def _import(place: str, started_in: str, spec: str) -> types.ModuleType:
    if not place.endswith(".py"):
        _look_first_in(started_in)
        return _guarded(lambda: importlib.import_module(place), spec)
    path = Path(started_in, place).resolve()
    if not path.is_file():
        raise LoadError(f"--kernel {spec}: there is no file {path}")
    name = _module_name(path)
    _look_first_in(str(path.parent))
    found = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    return _guarded(lambda: found.loader.exec_module(module), spec) or module


def _look_first_in(folder: str) -> None:
    """Once on the path, however many kernels of a folder one process loads."""
    sys.path[:] = [folder, *(place for place in sys.path if place != folder)]


def _module_name(path: Path) -> str:
    """That of the file; a private one where it would hide a package that the kernel imports."""
    others = [folder for folder in sys.path if Path(folder).resolve() != path.parent]
    hidden = PathFinder.find_spec(path.stem, others)
    if hidden is None:
        return path.stem
    sys.meta_path.insert(0, _Hidden(hidden))
    return f"_gptq_fuzz_{path.stem}"


class _Hidden:
    """Finds a package although a file of its name comes first."""

    def __init__(self, found):
        self._found = found

    def find_spec(self, name, path=None, target=None):
        return self._found if name == self._found.name else None


def _guarded(action, spec: str):
    try:
        return action()
    except packages.Unavailable as problem:
        raise LoadError(f"--kernel {spec}: {problem}") from None
    except (Exception, SystemExit) as problem:
        raise LoadError(
            f"--kernel {spec}: importing it raised {type(problem).__name__}: {problem}"
            f"{_where(problem)}"
        ) from problem


def _where(problem: BaseException) -> str:
    """` (engine.py:4, in helper: return TABLE["b"])`: the last line that is none of ours or of
    Python's import.
    """
    frames = traceback.extract_tb(problem.__traceback__)
    theirs = [f for f in frames if f.filename != __file__ and not f.filename.startswith("<frozen")]
    if not theirs:
        return ""
    last = theirs[-1]
    return f" ({last.filename}:{last.lineno}, in {last.name}: {last.line})"


def _as_backend(found, spec: str) -> Backend:
    if isinstance(found, Backend):
        return _with_packed_operands(found)
    if not callable(found):
        raise LoadError(
            f"--kernel {spec}: wanted a callable f(x=, qweight=, qzeros=, scales=, g_idx=, bits=) "
            f"or a Backend, got {type(found).__name__}"
        )
    if refused := _misses(found):
        raise LoadError(f"--kernel {spec}: {refused}")
    return from_callable(found, spec)


def _misses(function) -> str:
    """Why it cannot be called as a kernel is; what has a signature that nobody knows may be."""
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(**dict.fromkeys(KEYWORDS))
    except TypeError as problem:
        wanted = ", ".join(KEYWORDS)
        return f"it is called with the keywords {wanted}, and takes {signature}: {problem}"
    return ""


def _with_packed_operands(backend: Backend) -> Backend:
    if backend.operands == "packed" and FRACTIONS not in backend.limits.zeros:
        return backend
    from gptq_fuzz.problem.codes import as_packed  # needs torch, which a kernel has by now

    return as_packed(backend)
