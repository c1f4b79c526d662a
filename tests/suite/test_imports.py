"""What no linter asks: one module a file, light imports, who includes torch's headers."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_IN_A_WORKER = ("hypothesis", "pytest", "_pytest", "rich", "kernels", "gptq_fuzz.kernels")
SERVES = """
import sys
sys.modules.update(dict.fromkeys({absent}))
import gptq_fuzz.worker.served, gptq_fuzz.adapters.control
from gptq_fuzz.fingerprint import measure
from gptq_fuzz.oracle import diagnosis, examination
"""
TWICE = """
import importlib, os, sys
import torch  # once for all: each pair is imported in a process forked after it
for first, second in (pair.split(",") for pair in sys.argv[1:]):
    if forked := os.fork():
        if os.waitpid(forked, 0)[1]:
            sys.exit(first)
        continue
    if "gptq_fuzz" not in first: importlib.import_module("gptq_fuzz")
    one, other = importlib.import_module(first), importlib.import_module(second)
    assert one is other, (one, other)
    assert sys.modules[first] is sys.modules[second]
    assert one.__spec__.name == first, one.__spec__
    sys.exit()
"""
LIGHT = """
import sys
import gptq_fuzz, gptq_fuzz.plugin.entry, gptq_fuzz.plugin.options
heavy = {"torch", "hypothesis", "triton", "rich"} & set(sys.modules)
assert not heavy, heavy
"""
ASKS = """
import sys
import gptq_fuzz.plugin.command, gptq_fuzz.plugin.run, gptq_fuzz.conformance.test_conformance
heavy = {"torch", "triton"} & set(sys.modules)
assert not heavy, heavy
"""
TORCH_HEADER = re.compile(r'^\s*#\s*include\s*[<"](torch|ATen|c10)/', re.MULTILINE)
PREPROCESSOR_IF = re.compile(r"^\s*#\s*if", re.MULTILINE)
EXTENSION = ROOT / "kernels" / "exllama" / "ext"


def run(program, *words):
    asked = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True
    )
    assert asked.returncode == 0, asked.stderr


def test_a_worker_starts_where_no_test_tool_is_installed():
    run(SERVES.format(absent=NOT_IN_A_WORKER))


def test_a_file_is_one_module_by_both_of_its_names():
    names = ("reference.matmul", "kernels.checks", "kernels.custom_autotune")
    pairs = [(name, f"gptq_fuzz.{name}") for name in names]
    run(TWICE, *map(",".join, (*pairs, *(pair[::-1] for pair in pairs))))


def test_who_asks_for_verdicts_leaves_torch_to_the_worker():
    run(ASKS)


def test_the_package_and_its_plug_in_import_nothing_heavy():
    run(LIGHT)


def test_only_the_binding_includes_torch_headers():
    for path in EXTENSION.glob("*"):
        if path.is_file() and path.name != "binding.cpp":
            assert not TORCH_HEADER.search(path.read_text()), f"{path} includes a torch header"


def test_only_one_header_asks_whether_kernels_run_on_a_cpu():
    """The folders cuda and host belong to it."""
    for path in EXTENSION.glob("*.*"):
        if path.is_file() and path.name != "device.h":
            assert not PREPROCESSOR_IF.search(path.read_text()), f"{path} has an #if"


def test_the_kernels_package_holds_a_docstring_only():
    """Hugging Face's libraries import whatever is called `kernels` and ask for its version."""
    tree = ast.parse((ROOT / "kernels" / "__init__.py").read_text())
    assert len(tree.body) == 1
    assert ast.get_docstring(tree)
