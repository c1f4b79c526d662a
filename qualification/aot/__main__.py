"""`python -m qualification.aot`: compile every binary, say what it needs, compare with the tables."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import re
import sys

import triton
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from . import nvcc
from .architectures import ARCHITECTURES
from .build import build, cache_folder
from .resources import Built
from .summary import summary
from .table import FOLDER, Table, difference, line_of, read
from .variants import WHOLE, Sample, Variant, variants

TRITON = f"triton {triton.__version__}"
WIDTH = 120  # of the output where there is no terminal
SAME, DIFFERENT = 0, 1  # exit status; argparse has 2


def main(argv: list[str] | None = None) -> int:
    options = parsed(argv)
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    built = build_with_progress(options.chosen, console)
    console.print(summary(built))
    tables = tables_of(built)
    whole = options.sample == WHOLE
    if whole:
        tables += nvcc_tables(options.arch or list(ARCHITECTURES), console)
    for table in tables:
        for name, reasons in table.refused.items():
            say(console, f"{table.name} {name} cannot run: {reasons}")
    if options.update:
        return update(tables, console)
    return compare(tables, console, whole)


def parsed(argv: list[str] | None) -> argparse.Namespace:
    """The options, and as `chosen` the binaries that they ask for."""
    parser = argparse.ArgumentParser(prog="python -m qualification.aot", description=__doc__)
    parser.add_argument(
        "--arch", action="append", choices=ARCHITECTURES, help="this architecture only; repeatable"
    )
    parser.add_argument("--update", action="store_true", help="write the tables anew")
    parser.add_argument(
        "--sample", type=sample, default=WHOLE, metavar="N/OF", help="every OF-th binary from N on"
    )
    options = parser.parse_args(argv)
    options.chosen = variants(dict.fromkeys(options.arch or ARCHITECTURES), options.sample)
    if not options.chosen:
        parser.error("the --sample holds no binary")
    if options.update and options.sample != WHOLE:
        parser.error("--update writes whole tables, a --sample is none")
    if triton.knobs.runtime.interpret:
        parser.error("TRITON_INTERPRET is set, and an interpreter compiles nothing: unset it")
    return options


def sample(text: str) -> Sample:
    numbers = re.fullmatch(r"(\d+)/(\d+)", text)
    if not numbers or int(numbers[1]) >= int(numbers[2]):
        raise argparse.ArgumentTypeError(f"want N/OF with N below OF, got {text!r}")
    return Sample(int(numbers[1]), int(numbers[2]))


def build_with_progress(chosen: list[Variant], console: Console) -> dict[Variant, Built]:
    with progress(TRITON, len(chosen), console) as advance:
        built = build(chosen, advance)
    say(console, f"cache: {cache_folder()}")
    return built


def nvcc_tables(chosen: list[str], console: Console) -> list[Table]:
    """The tables of the CUDA kernels, printed; none where nvcc is not found."""
    version = nvcc.compiler()
    if version is None:
        say(console, "nvcc is not on the PATH: the CUDA kernels are left out")
        return []
    with progress(version, len(nvcc.targets(chosen)) * len(nvcc.sources()), console) as advance:
        tables = nvcc.tables(chosen, advance)
    for table in tables:
        for name, rest in table.lines.items():
            say(console, f"{table.name} {name}: {rest}")
    return tables


@contextlib.contextmanager
def progress(title: str, total: int, console: Console):
    """Yields what is called once for each of `total` steps."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as shown:
        task = shown.add_task(title, total=total)
        yield lambda: shown.advance(task)


def tables_of(built: dict[Variant, Built]) -> list[Table]:
    tables = {variant.arch: Table(variant.arch, TRITON) for variant in built}
    for variant, made in built.items():
        line = line_of(made, ARCHITECTURES[variant.arch])
        tables[variant.arch].lines[str(variant)] = line
    return list(tables.values())


def update(tables: list[Table], console: Console) -> int:
    for table in tables:
        table.write()
    say(console, f"{len(tables)} tables written to {FOLDER}")
    return SAME


def compare(tables: list[Table], console: Console, whole: bool) -> int:
    pairs = [(read(table.name), table) for table in tables]
    for old, new in sorted({(committed.version, table.version) for committed, table in pairs}):
        if old not in ("", new):
            say(console, f"the tables are by {old}, this is {new}: "
                "only what cannot run is compared")  # fmt: skip
    diffs = list(filter(None, (difference(*pair, whole) for pair in pairs)))
    for line in itertools.chain(*diffs):
        say(console, line)
    if not diffs:
        say(console, "no difference from the committed tables")
        return SAME
    say(console, f"{len(diffs)} of {len(tables)} tables differ; where that is meant: "
        "python -m qualification.aot --update")  # fmt: skip
    return DIFFERENT


def say(console: Console, text: str) -> None:
    """A line as it is: not wrapped, and no bracket taken for a colour."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
