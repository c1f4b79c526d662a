"""The tree keeps to its rules: who imports whom, how long a file is, what is at the top."""

import ast
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.suite import WORKER_MODULES

ROOT = Path(__file__).resolve().parents[2]
STDLIB = set(sys.stdlib_module_names)
MAY_IMPORT = {
    "kernels": {"torch", "triton", "numpy"},  # and each other, by relative import
    "reference": {"torch"},
    "tests": {
        *("kernels", "reference", "tests", "museum_parts"),
        *("torch", "triton", "numpy", "hypothesis", "pytest", "rich"),
        *("scipy", "matplotlib", "pytest_benchmark", "gemlite"),  # of the benchmarks
    },
    # each file is a plug-in for any worker
    "tests/museum/correct": {"torch", "tests", "museum_parts"},
    "tests/museum/faulty": {"torch", "tests", "museum_parts"},
    "tests/museum/gpu": {"torch", "triton", "museum_parts"},
}
FAMILIES = (  # two kernels share the door, not code
    {
        *("quant_linear", "operators", "triton_matmul", "custom_autotune", "config_pruner"),
        *("grouped", "grouped_plan", "grouped_kernels", "dense_kernels", "row_order"),
    },
    {"exllama", "exllama_linear", "exllama_build", "exllama_toolchain"},
)
NOT_IN_A_WORKER = ("hypothesis", "pytest", "_pytest", "rich", "kernels")
TORCH_HEADER = re.compile(r'^\s*#\s*include\s*[<"](torch|ATen|c10)/', re.MULTILINE)
PREPROCESSOR_IF = re.compile(r"^\s*#\s*if", re.MULTILINE)
MAX_LINES = 300
MAX_BODY = {"test": 15, "kernel": 120, "function": 40}
SOURCES = {".py", ".cpp", ".cu", ".cuh", ".h"}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_package_imports_only_what_it_may(package):
    """PF-07: a reference that shared code with a kernel would share its bugs."""
    for path in python_files(package):
        foreign = imported_packages(path.read_text()) - STDLIB - MAY_IMPORT[package]
        assert not foreign, f"{path} imports {foreign}"


def test_kernel_families_do_not_know_each_other():
    for family, other in itertools.permutations(FAMILIES, 2):
        for stem in family:
            path = ROOT / "kernels" / f"{stem}.py"
            assert not imported_names(path.read_text()) & other, f"{path} imports of {other}"


def test_exhibits_take_from_the_suite_only_what_declares_a_backend():
    for path in python_files("tests/museum/correct") + python_files("tests/museum/faulty"):
        taken = set(re.findall(r"^from (tests\S*) import", path.read_text(), re.MULTILINE))
        assert taken <= {"tests.suite.backend", "tests.suite.case", "tests.suite.control"}, path


def test_test_files_never_import_each_other():
    for path in python_files("tests"):
        others = {name for name in imported_names(path.read_text()) if is_test_file(name)}
        assert not others, f"{path} imports {others}"


@pytest.mark.parametrize("module", WORKER_MODULES)
def test_worker_modules_name_no_test_tool(module):
    path = ROOT / "tests" / "suite" / f"{module.replace('.', '/')}.py"
    tools = imported_packages(path.read_text()) & {"hypothesis", "pytest", "_pytest", "rich"}
    assert not tools


def test_a_worker_starts_where_no_test_tool_is_installed():
    lines = ["import sys", f"sys.modules.update(dict.fromkeys({NOT_IN_A_WORKER}))"]
    lines += [f"import tests.suite.{module}" for module in WORKER_MODULES]
    command = [sys.executable, "-c", "\n".join(lines)]
    worker = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert worker.returncode == 0, worker.stderr


def test_only_the_binding_includes_torch_headers():
    for path in (ROOT / "kernels" / "exllama_ext").glob("*"):
        if path.is_file() and path.name != "binding.cpp":
            assert not TORCH_HEADER.search(path.read_text()), f"{path} includes a torch header"


def test_only_one_header_asks_whether_kernels_run_on_a_cpu():
    """The folders cuda and host belong to it."""
    for path in (ROOT / "kernels" / "exllama_ext").glob("*.*"):
        if path.is_file() and path.name != "device.h":
            assert not PREPROCESSOR_IF.search(path.read_text()), f"{path} has an #if"


def test_the_kernels_package_holds_a_docstring_only():
    tree = ast.parse((ROOT / "kernels" / "__init__.py").read_text())
    assert len(tree.body) == 1
    assert ast.get_docstring(tree)


def test_files_are_short():
    folders = [path for package in MAY_IMPORT for path in (ROOT / package).rglob("*")]
    for path in [ROOT / "conftest.py", *folders]:
        if path.suffix in SOURCES:
            lines = len(path.read_text().splitlines())
            assert lines <= MAX_LINES, f"{path} has {lines} lines, at most {MAX_LINES} are wanted"


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_functions_are_short(package):
    for path in python_files(package):
        for function in functions(path.read_text()):
            wanted = MAX_BODY[kind_of(function)]
            lines = body_lines(function)
            assert lines <= wanted, f"{path}: {function.name} has {lines} lines, limit {wanted}"


def test_nothing_is_packaged():
    pyproject = (ROOT / "pyproject.toml").read_text()
    assert not re.search(r"^\[(project|build-system)\b", pyproject, re.MULTILINE)


def test_imports_are_seen_in_every_form():
    source = """
import a.b, c as d
from e.f import g
from . import h
def later():
    from ..i.j import k
"""
    assert imported_packages(source) == {"a", "c", "e"}
    assert imported_names(source) == {*"abcefghijk"}
    assert is_test_file("test_x")
    assert is_test_file("bench_x")
    assert not is_test_file("testing")
    assert TORCH_HEADER.search("int a;\n  # include <torch/extension.h>")
    assert not TORCH_HEADER.search('#include "torch_free.cuh"')


def test_bodies_are_measured_without_docstring_and_decorators():
    source = '''
@triton.jit
def f():
    """Two
    lines."""
    a = 1
    return (
        a)
'''
    (function,) = functions(source)
    assert kind_of(function) == "kernel"
    assert body_lines(function) == 3


def python_files(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"{package}/ holds no Python file"
    return files


def functions(source):
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]


def kind_of(function):
    if function.name.startswith("test_"):
        return "test"
    decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
    return "kernel" if "triton.jit" in decorators else "function"


def body_lines(function):
    """Lines from the first statement to the last, without the docstring."""
    documented = ast.get_docstring(function) is not None and len(function.body) > 1
    return function.end_lineno - function.body[documented].lineno + 1


def imports(source):
    return [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]


def imported_packages(source):
    """First components of what is imported absolutely, at the top or later."""
    packages = set()
    for node in imports(source):
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif node.level == 0:
            packages.add(node.module.split(".")[0])
    return packages


def imported_names(source):
    """Every component of what is imported, relative or not, and the names taken from it."""
    names = set()
    for node in imports(source):
        names |= {part for alias in node.names for part in alias.name.split(".")}
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= set(node.module.split("."))
    return names


def is_test_file(name):
    return name.startswith(("test_", "bench_"))
