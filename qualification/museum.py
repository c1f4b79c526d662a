"""`python -m qualification.museum [NAME ...]`: how soon the suite catches each faulty exhibit.

Each is put under the command as an engineer would start it, on the CPU, until its first finding;
one that the tests miss is fuzzed for a minute. Seconds count from the end of the collection.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.museum.catalogue import Exhibit, faulty
from qualification.report import RESULTS, ROOT, say, write_results

COMMAND = ["-m", "gptq_fuzz", "-q", "-x", "--device", "cpu", "--hypothesis-seed", "0"]
STAGES = {  # asked in turn until something is found
    "tests": [],
    "fuzz": ["--budget", "60"],
    "night": ["--hypothesis-profile", "nightly", "-k", "codes_past"],
}
PATIENCE, HANGS_AFTER = 60, 6  # seconds for a call; where the exhibit is one that never answers
LIMIT = 900  # seconds for one stage


def main(arguments: list[str]) -> int:
    """0 where all were caught, 1 otherwise."""
    options = parser().parse_args(arguments)
    exhibits = {e.name: e for e in faulty() if not options.names or e.name in options.names}
    if unknown := set(options.names) - exhibits.keys():
        parser().error(f"no exhibit is called {', '.join(sorted(unknown))}")
    with ThreadPoolExecutor(options.jobs) as pool:
        asked = {pool.submit(examined, exhibit): name for name, exhibit in exhibits.items()}
        found = {}
        for future in as_completed(asked):
            name = asked[future]
            found[name] = future.result()
            say(f"{name}: {in_words(found[name])}")
    caught = [result for result in found.values() if result]
    missed = [name for name, result in found.items() if not result]
    say(f"caught: {len(caught)} of {len(found)}; missed: {', '.join(missed) or 'none'}")
    for what in ("first", "shrunk"):
        seconds = [result[what] for result in caught] or [0.0]
        median, worst = statistics.median(seconds), max(seconds)
        say(f"seconds to the {what} failing verdict: median {median:.1f}, worst {worst:.1f}")
    write_results("museum", found, options.results)
    return int(bool(missed))


def parser() -> argparse.ArgumentParser:
    built = argparse.ArgumentParser("python -m qualification.museum", description=__doc__)
    built.add_argument("names", nargs="*", metavar="NAME", help="exhibits (all)")
    built.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="side by side")
    built.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON")
    return built


def examined(exhibit: Exhibit) -> dict:
    """Stage, kind, line, check and seconds of the first finding; {} where there is none."""
    for stage, options in STAGES.items():
        run = _run(exhibit, options)
        if run["findings"]:
            (seen,), finding = run["kernels"].values(), run["findings"][0]
            seconds = {"first": seen["first_failure"], "shrunk": seen["first_finding"]}
            return {"stage": stage} | {k: finding[k] for k in ("kind", "line", "check")} | seconds
    return {}


def in_words(result: dict) -> str:
    """`WRONG (value) m1-n4-k4-b8-gall, 0.1 s, shrunk 1.2 s`"""
    if not result:
        return "not caught"
    times = f"{result['first']:.1f} s, shrunk {result['shrunk']:.1f} s ({result['stage']})"
    return f"{result['kind']} ({result['check']}) {result['line']}, {times}"


def _run(exhibit: Exhibit, options: list[str]) -> dict:
    """What `--json` holds after one run. Raises RuntimeError where there is nothing."""
    timeout = HANGS_AFTER if kinds.TIMED_OUT in exhibit.verdicts else PATIENCE
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "run.json")
        words = [*options, "--kernel", exhibit.spec, "--timeout", str(timeout), f"--json={file}"]
        ran = subprocess.run(
            [sys.executable, *COMMAND, *words], cwd=ROOT, capture_output=True, text=True,
            timeout=LIMIT, check=False,
        )  # fmt: skip
        if not file.is_file():
            raise RuntimeError(f"{exhibit.name}: {ran.stdout[-2000:]}{ran.stderr[-2000:]}")
        return json.loads(file.read_text())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
