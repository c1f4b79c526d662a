"""A module of an engine without the engine: no `__init__` of a package around it is run."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from types import ModuleType
from unittest.mock import MagicMock


class _Uncalled(ModuleType):
    """Has what is imported from it."""

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock(name=name)


def import_alone(name: str, given: Mapping[str, Mapping | None] | None = None) -> ModuleType:
    """`engine.folder.module`, around which packages are folders and nothing else.

    `given` are modules that it imports and that need more of the engine than a kernel does: the
    names that each has while it is imported; None: every name, for what no kernel ever calls.
    """
    root, *folders = name.split(".")[:-1]
    for place in range(len(folders) + 1):
        package, path = ".".join((root, *folders[:place])), "/".join(folders[:place])
        if package not in sys.modules:
            module = ModuleType(package)
            module.__path__ = [f"{_folder(root)}/{path}".rstrip("/")]
            sys.modules[package] = module
    instead = {other: _stand_in(other, names) for other, names in (given or {}).items()}
    held = {other: sys.modules.get(other) for other in instead}
    sys.modules.update(instead)
    try:
        return importlib.import_module(name)
    finally:  # another kernel may be given others
        for other, module in held.items():
            sys.modules.pop(other)
            sys.modules.update({} if module is None else {other: module})


def _stand_in(name: str, names: Mapping | None) -> ModuleType:
    module = _Uncalled(name) if names is None else ModuleType(name)
    vars(module).update(names or {})
    return module


def _folder(root: str) -> str:
    if root in sys.modules:
        return sys.modules[root].__path__[0]
    return find_spec(root).submodule_search_locations[0]
