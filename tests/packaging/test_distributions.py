"""What is in the wheel and in the sdist."""

import tarfile
import zipfile

import pytest


@pytest.fixture(scope="module")
def wheel(distributions):
    """Name -> text of a file; binary files are left out."""
    with zipfile.ZipFile(distributions[0]) as archive:
        return {name: archive.read(name).decode(errors="replace") for name in archive.namelist()}


def metadata(wheel, name):
    (text,) = (text for path, text in wheel.items() if path.endswith(f".dist-info/{name}"))
    return text


def test_the_wheel_holds_one_import_name(wheel):
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"gptq_fuzz"}


def test_kernels_and_reference_are_shipped_inside_with_their_sources(wheel):
    wanted = {
        "gptq_fuzz/kernels/__init__.py",
        "gptq_fuzz/kernels/quant_linear.py",
        "gptq_fuzz/kernels/exllama/ext/binding.cpp",
        "gptq_fuzz/kernels/exllama/ext/host/fiber.h",
        "gptq_fuzz/reference/matmul.py",
        "gptq_fuzz/conformance/test_conformance.py",
        "gptq_fuzz/corpus/tails.txt",
        "gptq_fuzz/museum/faulty/all_zero.py",
        "gptq_fuzz/plugin/pytest.ini",
        "gptq_fuzz/report/page.html.j2",
        "gptq_fuzz/report/page.js",
        "gptq_fuzz/py.typed",
    }
    assert wanted <= wheel.keys()
    assert not [name for name in wheel if "__pycache__" in name or name.endswith(".so")]


def test_the_command_and_the_plug_in_are_entry_points(wheel):
    points = metadata(wheel, "entry_points.txt")
    assert "gptq-fuzz = gptq_fuzz.command:main" in points
    assert "[pytest11]\ngptq_fuzz = gptq_fuzz.plugin.entry" in points


def test_only_what_a_run_needs_is_a_dependency(wheel):
    lines = metadata(wheel, "METADATA").splitlines()
    needed = [line.split(": ")[1] for line in lines if line.startswith("Requires-Dist: ")]
    names = {each.split(">")[0] for each in needed if "extra ==" not in each}
    tests = {"hypothesis", "pytest", "pytest-xdist"}
    assert names == tests | {"filelock", "numpy", "rich", "safetensors", "torch"}


def test_the_sdist_holds_what_its_tests_need(distributions):
    with tarfile.open(distributions[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        "action.yml",
        ".ci/action",
        "kernels/checks.py",
        "reference/matmul.py",
        "tests/conftest.py",
        "conftest.py",
    }
    assert {*wanted, "tox.ini", "pyproject.toml", "LICENSE", "README.md"} <= names
