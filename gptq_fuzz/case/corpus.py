"""Corpus files: one problem a line, each with a comment that names its bug."""

from __future__ import annotations

from pathlib import Path

OURS = Path(__file__).resolve().parents[1] / "corpus"


def read_corpus(path: Path) -> list[str]:
    """The Case lines of a file; text after `#` is a comment."""
    lines = (text.partition("#")[0].strip() for text in path.read_text().splitlines())
    return [line for line in lines if line]


def our_corpus() -> list[str]:
    """Every line of gptq_fuzz/corpus/*.txt, in order, once."""
    files = sorted(OURS.glob("*.txt"))
    return list(dict.fromkeys(line for path in files for line in read_corpus(path)))
