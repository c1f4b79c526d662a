"""In a checkout `kernels` and `reference` lie beside the package; a file of theirs is one module.

A wheel holds both folders as `gptq_fuzz.kernels` and `gptq_fuzz.reference`. In a checkout they are
at the top level, where users of the repository know them, so a file can be imported by two names.
The first import creates the module; the other name gives the same object.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
SHIPPED = ("kernels", "reference")
IS_CHECKOUT = not (PACKAGE / "kernels").is_dir() and (PACKAGE.parent / "kernels").is_dir()
ROOT = PACKAGE.parent if IS_CHECKOUT else PACKAGE  # where `kernels` and `reference` lie


class _Same(importlib.abc.Loader):
    """Gives a module that exists already under its other name."""

    def __init__(self, module):
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec):
        return self._module

    def exec_module(self, module):
        module.__spec__ = self._spec  # importlib has put the other name's there


class TwoNames(importlib.abc.MetaPathFinder):
    """Finds `gptq_fuzz.kernels` beside the package, and what was imported by its other name."""

    def find_spec(self, name, path=None, target=None):
        family, other = _other_name(name)
        if family is None:
            return None
        loaded = sys.modules.get(other)
        if loaded is not None and _is_ours(loaded) and _would_be_ours(name, path):
            return importlib.util.spec_from_loader(name, _Same(loaded))
        if name == f"gptq_fuzz.{family}":
            folder = ROOT / family
            return importlib.util.spec_from_file_location(
                name, folder / "__init__.py", submodule_search_locations=[str(folder)]
            )
        return None


def _other_name(name: str) -> tuple[str | None, str]:
    for family in SHIPPED:
        if name == family or name.startswith(f"{family}."):
            return family, f"gptq_fuzz.{name}"
        if name == f"gptq_fuzz.{family}" or name.startswith(f"gptq_fuzz.{family}."):
            return family, name.removeprefix("gptq_fuzz.")
    return None, ""


def _is_ours(module) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve().is_relative_to(ROOT)


def _would_be_ours(name: str, path) -> bool:
    """Another distribution's `kernels` stays what it is, wherever it comes first."""
    if name.startswith("gptq_fuzz."):
        return True
    found = importlib.machinery.PathFinder.find_spec(name, path)
    return bool(found and found.origin and Path(found.origin).resolve().is_relative_to(ROOT))


def install() -> None:
    """Make both names one, in a checkout; an installed package needs nothing."""
    if IS_CHECKOUT and not any(isinstance(finder, TwoNames) for finder in sys.meta_path):
        sys.meta_path.insert(0, TwoNames())
