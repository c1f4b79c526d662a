"""What hangs in the museum, read from the files without importing them."""

import ast
from dataclasses import dataclass
from pathlib import Path

MUSEUM = Path(__file__).resolve().parent
# Faulty kernels of which each run of the tests searches every one; of the others, some.
ALWAYS = {  # one of each way to be caught: by values, a guard, another call, repeats, an edge
    "zero_not_wrapped",
    "x_changed",
    "stale_cache_by_shape",
    "one_in_thirty",
    "m0_wrong",
}
LITERALS = ("BUG", "VERDICTS", "SMALLEST", "ONLY", "AFTER_OTHERS")


@dataclass(frozen=True)
class Exhibit:
    """One kernel; a correct one has no bug, the verdict PASS and no smallest sizes.

    `only` names the one oracle, fill or list that sees the fault; `after_others` is true of a fault
    that no case shows in a process of its own, but a list of cases does, each time.
    """

    name: str
    spec: str  # what --kernel takes
    bug: str = ""
    verdicts: tuple[str, ...] = ("PASS",)
    smallest: tuple[int, int, int] | None = None  # m, n, k
    only: str = ""
    after_others: bool = False


def faulty() -> list[Exhibit]:
    """Kernels that must be reported with one of their verdicts, shrunk to their smallest sizes."""
    return [_faulty_exhibit(path) for path in _files("faulty")]


def correct() -> list[Exhibit]:
    """Kernels that must pass."""
    return [Exhibit(path.stem, f"{path}:f") for path in _files("correct")]


def _files(folder: str) -> list[Path]:
    return sorted((MUSEUM / folder).glob("[!_]*.py"))


def _faulty_exhibit(path: Path) -> Exhibit:
    found = _literals(path)
    if "BUG" not in found:
        raise ValueError(f"{path} must assign a literal to BUG")
    return Exhibit(
        path.stem,
        f"{path}:f",
        found["BUG"],
        found.get("VERDICTS", ("WRONG",)),
        found.get("SMALLEST", (1, 4, 4)),  # one row; one word of 8-bit codes
        found.get("ONLY", ""),
        found.get("AFTER_OTHERS", False),
    )


def _literals(path: Path) -> dict[str, object]:
    """Top-level `NAME = literal` of a file; other statements are passed over."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]) if name in LITERALS:
                found[name] = ast.literal_eval(node.value)
    return found
