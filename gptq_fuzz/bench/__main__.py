"""`python -m gptq_fuzz.bench FILE.json`: table and pictures of a stored run, without a GPU."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from gptq_fuzz.bench.record import points_of
from gptq_fuzz.bench.report import files
from gptq_fuzz.bench.table import table


def main(argv: list[str] | None = None) -> int:
    """Write table.md and pictures beside the file, or to --output; print the table."""
    parser = argparse.ArgumentParser(prog="python -m gptq_fuzz.bench", description=__doc__)
    parser.add_argument("file", type=Path, help="what --benchmark-save or --benchmark-json wrote")
    parser.add_argument("--output", type=Path, help="folder (default: that of the file)")
    options = parser.parse_args(argv)
    data = json.loads(options.file.read_text())
    if not points_of(data):
        parser.error(f"{options.file} holds no point of the benchmarks")
    written, problem = files(data, options.output or options.file.parent)
    lines = [table(points_of(data), data["machine_info"]["gpu"]).rstrip(), *map(str, written)]
    sys.stdout.write("\n".join(lines + [f"no pictures: {problem}"] * bool(problem)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
