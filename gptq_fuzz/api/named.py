"""By which `--kernel` words another process could load an object of this one."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path


def specs_of(kernel: object) -> list[str]:
    """`package.module:attribute` and `path.py:attribute`, the likelier first; empty for a lambda,
    a closure, and whatever else is no attribute of a module with a file."""
    specs = [spec for module, attribute in _homes(kernel) for spec in _specs_in(module, attribute)]
    return list(dict.fromkeys(specs))


def _homes(kernel: object) -> Iterator[tuple[types.ModuleType, str]]:
    """Modules that hold the very object, its own first, then the one imported last."""
    own = sys.modules.get(getattr(kernel, "__module__", None) or "")
    name = getattr(kernel, "__qualname__", "")
    if own is not None and name and _attribute(own, name) is kernel:
        yield own, name
        return
    for module in reversed([*sys.modules.values()]):
        if isinstance(module, types.ModuleType):
            for attribute, value in [*vars(module).items()]:
                if value is kernel:
                    yield module, attribute


def _attribute(module: types.ModuleType, name: str) -> object:
    found: object = module
    for part in name.split("."):  # "<locals>" and "<lambda>" are no attributes
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    return found.__func__ if isinstance(found, staticmethod) else found


def _specs_in(module: types.ModuleType, attribute: str) -> list[str]:
    name, file = vars(module).get("__name__", ""), vars(module).get("__file__")
    if name == "__main__":  # `python -m package.module` knows its name, a script has none
        name = getattr(vars(module).get("__spec__"), "name", "")
    if not file:
        return []
    is_source = file.endswith(".py") and Path(file).is_file()
    paths = [_from_here(Path(file))] if is_source else []
    # A module of a package has neighbours that it imports by name; another one is a file.
    places = [name, *paths] if "." in name else [*paths, name]
    return [f"{place}:{attribute}" for place in places if place]


def _from_here(path: Path) -> str:
    path, here = path.resolve(), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
