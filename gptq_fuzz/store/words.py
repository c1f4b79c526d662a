"""The command line of a sub-command, which ends with the exit statuses of the suite."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from gptq_fuzz.store.store import DEFAULT

FOUND, INTERRUPTED, WRONG_OPTION = 1, 2, 4  # exit statuses, as docs/verdicts.md has them


class Parser(argparse.ArgumentParser):
    """As argparse's, but for the exit status."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(WRONG_OPTION, f"{self.prog}: {message}\n")


def add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store",
        metavar="URL",
        default=DEFAULT,
        help=f"a folder, or any address of fsspec: s3://, gs://, sftp:// (default {DEFAULT})",
    )


def say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")


def counted(number: int, noun: str) -> str:
    """`1 finding`, `3 findings`"""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def complain(*lines: str) -> int:
    """To standard error; gives the exit status of a wrong option."""
    for line in lines:
        sys.stderr.write(f"gptq-fuzz: {line}\n")
    return WRONG_OPTION


def tell_skipped(skipped: list[str], address: str) -> None:
    """Of the files of a store that were passed over."""
    for why in skipped:
        sys.stderr.write(f"gptq-fuzz: {address} skipped {why}\n")
