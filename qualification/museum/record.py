"""One faulty kernel under the suite, as an engineer would start it: what is found, and when."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.case import FILLS
from gptq_fuzz.museum.catalogue import MUSEUM, Exhibit

ROOT = MUSEUM.parents[1]
PYTEST = ["-q", "-x", "-p", "no:cacheprovider", "--device", "cpu"]
PATIENCE, HANGS_AFTER = 60, 6  # seconds for a call; where the exhibit is one that never answers
STAGES = {  # asked in turn until something is found
    "tests": ["tests/test_conformance.py", "--hypothesis-seed=0"],
    "fuzz": ["tests/test_conformance.py", "--hypothesis-seed=0", "--budget", "60"],
}
LIMIT = 900  # seconds for one stage
ORACLES = {  # of verdicts that values have no part in
    kinds.WRONG_TYPE: "type",
    kinds.OUT_OF_BOUNDS: "red zones",
    kinds.INPUT_CHANGED: "operands compared",
    kinds.STATE_LEAKED: "global state",
    kinds.RAISED: "exception",
    kinds.FAILED_TO_REJECT: "refusal",
}


@dataclass
class Record:
    """What became of one exhibit; `stage` is "" where nothing was found, `digest` where none asked.

    `first` is the first failing verdict: kind, line, check, cases, seconds since the collection.
    `found` is what was reported: kind, line, check, ratio, message, seconds since the collection.
    """

    digest: str
    stage: str = ""
    first: dict = field(default_factory=dict)
    found: dict = field(default_factory=dict)
    seconds: float = 0.0  # of all stages, set-up included

    @property
    def caught(self) -> bool:
        return bool(self.stage)

    @property
    def oracle(self) -> str:
        """The check, or the fill, or what watches over the call."""
        if self.found["check"] != "value":
            return self.found["check"]
        if self.found["kind"] == kinds.WRONG:
            return f"fill {fill_of(self.found['line'])}"
        return ORACLES.get(self.found["kind"], "process")

    def to_json(self) -> dict:
        return dataclasses.asdict(self)


def fill_of(line: str) -> str:
    """The fill that a line names."""
    return next((token for token in line.split("-") if token in FILLS), "exact")


def digest(exhibit: Exhibit) -> str:
    """Of everything that decides what is found."""
    paths = [*(ROOT / "tests" / "suite").glob("*.py"), *(ROOT / "tests" / "corpus").glob("*.txt")]
    paths += [*(ROOT / "reference").glob("*.py"), ROOT / "tests" / "test_conformance.py"]
    paths += [MUSEUM / "museum_parts.py", Path(exhibit.spec.rpartition(":")[0])]
    content = b"\0".join(path.read_bytes() for path in sorted(paths))
    return hashlib.sha256(content).hexdigest()[:16]


def record(exhibit: Exhibit) -> Record:
    """Run the suite over one exhibit until the first finding."""
    made = Record(digest(exhibit))
    started = time.monotonic()
    for stage, options in STAGES.items():
        told = _run(exhibit, options)
        if told["findings"]:
            made.stage = stage
            seen, finding = next(iter(told["kernels"].values())), told["findings"][0]
            made.first = seen["first_verdict"] | {"seconds": seen["first_failure"]}
            made.found = {name: finding[name] for name in ("kind", "line", "check", "ratio")}
            made.found |= {"message": finding["message"], "seconds": seen["first_finding"]}
            break
    made.seconds = time.monotonic() - started
    return made


def _run(exhibit: Exhibit, options: list[str]) -> dict:
    """What `--json` tells of one run. Raises RuntimeError where there was none."""
    spec = str(Path(exhibit.spec).relative_to(ROOT))
    timeout = HANGS_AFTER if kinds.TIMED_OUT in exhibit.verdicts else PATIENCE
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "run.json")
        arguments = [*PYTEST, *options, "--kernel", spec, f"--timeout={timeout}", f"--json={told}"]
        process = _prepared().Process(target=_pytest, args=(arguments, f"{folder}/said"))
        process.start()
        process.join(LIMIT)
        process.kill()
        if not told.is_file():
            raise RuntimeError(f"{exhibit.name}: {Path(folder, 'said').read_text()[-4000:]}")
        return json.loads(told.read_text())


@functools.cache
def _prepared():
    """Processes that begin with what takes seconds to import."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["numpy", "pytest", "rich", "torch"])
    return context


def _pytest(arguments: list[str], said: str) -> None:
    os.chdir(ROOT)
    nowhere = os.open(said, os.O_WRONLY | os.O_CREAT)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    sys.exit(pytest.main(arguments))
