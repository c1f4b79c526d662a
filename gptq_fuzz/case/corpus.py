"""Corpus files: one problem a line, each with a comment that names its bug."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case

OURS = Path(__file__).resolve().parents[1] / "corpus"


def read_corpus(path: Path) -> list[str]:
    """The Case lines of a file; text after `#` is a comment."""
    return [line for _, line in numbered(path)]


def numbered(path: Path) -> list[tuple[int, str]]:
    """The same, each with its number in the file."""
    lines = (text.partition("#")[0].strip() for text in path.read_text("utf-8").splitlines())
    return [(number, line) for number, line in enumerate(lines, 1) if line]


def our_corpus() -> list[str]:
    """Every line of gptq_fuzz/corpus/*.txt, in order, once."""
    files = sorted(OURS.glob("*.txt"))
    return list(dict.fromkeys(line for path in files for line in read_corpus(path)))


def promised_cases(lines: Iterable[str], limits: Limits) -> Iterator[Case]:
    """The lines that a kernel with these limits promises, tokens of its own included."""
    for line in lines:
        try:
            case = Case.parse(line, limits.tokens)
        except ValueError:  # another kernel's tokens; a test of the suite reads each line of ours
            continue
        if not limits.violations(case) and (not case.bad or case.bad in limits.bad):
            yield case
