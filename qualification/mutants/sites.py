"""Places where a file can be made faulty, and the mutants that this gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from . import python
from .rules import cuda

ROOT = Path(__file__).resolve().parents[2]
KERNELS, SUITE = "kernels", "tests/suite"
AREAS = {
    **dict.fromkeys(("triton_matmul", "grouped_kernels"), "triton"),
    "packing": "pack",
    **dict.fromkeys(
        ("custom_autotune", "autotune_key", "autotune_store", "autotune_timing"), "autotuner"
    ),
    **dict.fromkeys(("config_pruner", "launch_path"), "autotuner"),
    **dict.fromkeys(("exllama", "exllama_linear", "exllama_build", "exllama_toolchain"), "exllama"),
}
CUDA, HOST = f"{KERNELS}/exllama_ext", f"{KERNELS}/exllama_ext/host"
# Only nvcc reads them: no machine without a GPU can run a mutant of theirs.
NOT_RUN_HERE = f"{KERNELS}/exllama_ext/cuda/"
PACKING = ("QuantLinear.pack", "QuantLinear._check_grid", "QuantLinear._weight_of")
SHOWN = 48  # characters of each side of `old -> new`

# What finds the sites of a file, by suffix.
ENUMERATORS: dict[str, Callable[[str], Iterable[python.Site]]] = {
    ".py": python.sites,
    **dict.fromkeys((".cu", ".cuh", ".h", ".cpp"), cuda.sites),
}


@dataclass(frozen=True)
class Mutant:
    """One faulty version of one file. `id` names file, function, variant and which of these."""

    id: str
    path: str  # from the root
    operator: str
    line: int
    change: str  # `old -> new`
    source: str  # of the whole file, with the fault
    more: tuple[tuple[str, str], ...] = ()  # other files that change too: path, source

    @property
    def changed(self) -> dict[str, str]:
        """Path -> text of every file that differs from the checkout."""
        return {self.path: self.source, **dict(self.more)}

    @property
    def area(self) -> str:
        """What the score counts together."""
        if self.operator == "known":
            return "known"
        if self.path.startswith(SUITE):
            return "suite"
        if self.path.startswith(CUDA):
            return "host" if self.path.startswith(HOST) else "cuda"
        _, scope, _ = self.id.split(":", 2)
        if scope in PACKING:
            return "pack"
        return AREAS.get(Path(self.path).stem, "door")


def mutants_of(path: str, text: str) -> list[Mutant]:
    """Every mutant that the rules make of one file, in the order of its lines."""
    enumerate_sites = ENUMERATORS.get(Path(path).suffix)
    seen, counts, found = {text}, Counter(), []
    for site in enumerate_sites(text) if enumerate_sites else ():
        source = applied(text, site.edits)
        if source in seen:
            continue
        seen.add(source)
        stem = f"{short_name(path)}:{site.scope}:{site.operator}-{site.variant}"
        counts[stem] += 1
        change = _change(text, site.edits)
        name = f"{stem}:{counts[stem]}"
        found.append(Mutant(name, path, site.operator, site.line, change, source))
    return found


def all_sites() -> list[Mutant]:
    """Every mutant of `kernels/` and of the suite."""
    found = []
    for folder in (KERNELS, SUITE):
        for path in sorted((ROOT / folder).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if name.startswith(NOT_RUN_HERE) or path.name == "__init__.py":
                continue
            if path.suffix in ENUMERATORS:
                found += mutants_of(name, path.read_text(encoding="utf-8"))
    return found


def applied(text: str, edits: Iterable[python.Edit]) -> str:
    """`text` with every edit made; edits do not overlap."""
    data = text.encode()
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        data = data[: edit.start] + edit.text.encode() + data[edit.end :]
    return data.decode()


def short_name(path: str) -> str:
    """How ids and tables call a file."""
    return path.removeprefix(f"{KERNELS}/").removeprefix("tests/")


def _change(text: str, edits: tuple[python.Edit, ...]) -> str:
    data = text.encode()
    old = ", ".join(_clip(data[edit.start : edit.end].decode()) for edit in edits)
    new = ", ".join(_clip(edit.text) for edit in edits)
    return f"{old} -> {new}"


def _clip(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 3]}..."
