"""`gptq-fuzz kernels`: what `--kernel` may name, of which package and version, where it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from gptq_fuzz._checkout import ROOT
from gptq_fuzz.worker.loader import BUILT_IN
from gptq_fuzz.worker.packages import PACKAGES, installed

# Each package in a process of its own, as in a run: importing one may print, raise or take long.
ASK = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import torch
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
from gptq_fuzz.worker.packages import kernels_of
from gptq_fuzz.worker.stand_in import stand_in_for_a_gpu
stand_in_for_a_gpu()
try:
    told = {"kernels": kernels_of(sys.argv[2])}
except Exception as problem:
    told = {"why": f"{type(problem).__name__}: {problem}".splitlines()[0]}
sys.stdout.write("\\n" + json.dumps(told))
"""


def main(words: list[str]) -> int:
    """Print the list; gives the exit status."""
    if words:
        sys.stderr.write(f"gptq-fuzz kernels takes no options, got {' '.join(words)}\n")
        return 4
    lines = rows()
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    for line in lines:
        padded = [text.ljust(width) for text, width in zip(line, widths, strict=False)]
        sys.stdout.write("  ".join([*padded, line[3]]).rstrip() + "\n")
    return 0


def rows() -> list[tuple[str, str, str, str]]:
    """(kernel, package, version, devices or why not) of each, in the order of their names here."""
    found = [("kernel", "package", "version", "device")]
    found += [(name, "gptq-fuzz", "", "cuda, cpu") for name in BUILT_IN]
    versions = {name: installed(name) for name in PACKAGES if PACKAGES[name]}
    asked = {name: _ask(name) for name, version in versions.items() if version}
    for name, package in PACKAGES.items():
        if not package:
            found.append((f"{name}:PATH", "", "", "a file of it: cuda, cpu"))
        elif name not in asked:
            found.append((name, package, "", f"not installed: pip install {package}"))
        else:
            told = _told(asked[name])
            kernels = told.get("kernels", {name: (told.get("why"),)})
            found += [
                (kernel, package, versions[name], ", ".join(devices))
                for kernel, devices in kernels.items()
            ]
    return found


def _ask(name: str) -> subprocess.Popen:
    command = [sys.executable, "-W", "ignore", "-c", ASK, str(ROOT), name]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    return subprocess.Popen(command, env=os.environ, **quiet)


def _told(process: subprocess.Popen) -> dict:
    answer = process.communicate()[0].rpartition("\n")[2]
    try:
        return json.loads(answer)
    except ValueError:
        return {"why": f"importing it ended its process with status {process.returncode}"}
