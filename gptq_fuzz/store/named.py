"""A kernel as a store names it: the word after --kernel, the hash of its file, its commit."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import subprocess
from pathlib import Path

from gptq_fuzz import __version__
from gptq_fuzz.worker import packages
from gptq_fuzz.worker.loader import BUILT_IN


def kernel_named(spec: str, started_in: str = ".") -> dict:
    """`name`, `hash`, `version` and `commit`, each "" where there is none.

    A file has a hash; what is built in has the package's version, an adapter or an installed module
    that of its distribution. The commit is that of the file's repository, with `-dirty` where the
    file differs.
    Raises ValueError for a file that is not there.
    """
    place = spec.rpartition(":")[0]
    named = {"name": spec, "hash": "", "version": "", "commit": ""}
    if spec in BUILT_IN:
        return named | {"version": f"gptq-fuzz {__version__}"}
    if adapted := packages.split(spec)[0]:
        return named | {"version": packages.with_version(adapted)}
    if not place.endswith(".py"):
        return named | {"version": installed_version(place)}
    path = Path(started_in, place)
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise ValueError(f"--kernel {spec}: {path}: {problem.strerror}") from problem
    return named | {"hash": hashlib.sha256(content).hexdigest(), "commit": commit_of(path)}


def installed_version(module: str) -> str:
    """`vllm 0.11.0` of the distribution that brings a module; "" where none does."""
    top = module.partition(".")[0]
    names = importlib.metadata.packages_distributions().get(top, ())
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in dict.fromkeys(names))


def commit_of(path: Path) -> str:
    """`1f0c...`, `1f0c...-dirty`; "" outside a repository, or where there is no git."""
    head = _git(path, "rev-parse", "HEAD")
    changed = head and _git(path, "status", "--porcelain", "--", path.name)
    return f"{head}-dirty" if changed else head


def _git(path: Path, *words: str) -> str:
    command = ["git", "-C", str(path.resolve().parent), *words]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return ran.stdout.strip() if ran.returncode == 0 else ""
