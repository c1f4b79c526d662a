"""Copies of the tree that mutants live in; the checkout itself is never written to."""

from __future__ import annotations

import compileall
import hashlib
import json
import platform
import py_compile
import shutil
import tempfile
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from .sites import ROOT

COPIED = (
    "conftest.py", "pyproject.toml", "tox.ini", "README.md", "kernels", "reference", "tests",
    "benchmarks",
)  # fmt: skip
NOT_COPIED = shutil.ignore_patterns("__pycache__", ".*", "mutants", "test_mutants*", "*.png")
PACKAGES = ("torch", "triton", "hypothesis", "pytest", "numpy")


class Tree:
    """The files that mutants are made from: copied, compiled and hashed once."""

    def __init__(self, root: Path = ROOT):
        self.root = root
        self._folder = tempfile.TemporaryDirectory(prefix="gptq-mutants-")
        self.template = Path(self._folder.name, "template")
        self.template.mkdir()
        for name in COPIED:
            self._copy(name)
        # Not checked against the source: what a mutant changes has no compiled file at all.
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(self.template, quiet=2, invalidation_mode=mode)

    def _copy(self, name: str) -> None:
        path = self.root / name
        if path.is_dir():
            shutil.copytree(path, self.template / name, ignore=NOT_COPIED)
        elif path.exists():
            shutil.copy(path, self.template / name)

    def with_files(self, changed: dict[str, str]) -> Path:
        """A new copy in which these files, named from the root, hold other text."""
        folder = Path(tempfile.mkdtemp(dir=self._folder.name))
        # Contents alone: modes and times would take six times as long.
        shutil.copytree(self.template, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
        for name, text in changed.items():
            path = folder / name
            path.write_text(text, encoding="utf-8")
            for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
                compiled.unlink()
        return folder

    def built(self, changed: dict[str, str]) -> Path:
        """A folder, perhaps not there yet, for what is compiled of these files."""
        text = json.dumps(changed, sort_keys=True)
        return Path(self._folder.name, "built", hashlib.sha256(text.encode()).hexdigest()[:24])

    @cached_property
    def digests(self) -> dict[str, str]:
        """Name from the root -> hash, for every file that is copied."""
        files = (path for path in sorted(self.template.rglob("*")) if path.is_file())
        return {
            path.relative_to(self.template).as_posix(): hashlib.sha256(
                path.read_bytes()
            ).hexdigest()
            for path in files
            if path.suffix != ".pyc"
        }

    def key(self, changed: dict[str, str], patterns: tuple[str, ...], what: str) -> str:
        """Hash of all that a result depends on: the files it reads, and what reads them."""
        digests = self.digests | {
            name: hashlib.sha256(text.encode()).hexdigest() for name, text in changed.items()
        }
        read = {name: d for name, d in digests.items() if _matches(name, patterns)}
        told = [what, platform.python_version(), *map(version, PACKAGES), read]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def remove(self) -> None:
        self._folder.cleanup()


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    """A pattern is a file, or a folder with all in it."""
    return any(name == pattern or name.startswith(f"{pattern}/") for pattern in patterns)
