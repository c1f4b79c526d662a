"""`gptq-fuzz` where it is installed: any folder, any shell, and what it prints can be pasted."""

import json
import re

import pytest

from tests.packaging.environments import RIGHT, WRONG, project, reproduce_line
from tests.turns import todays

pytestmark = pytest.mark.turns(6)

LINE = "m1-n32-k32-b4-gall-z0"


@pytest.fixture
def folder(tmp_path):
    """A user's folder whose name, and whose kernel's name, holds what a shell might read."""
    files = {"mine.py": WRONG, "right.py": RIGHT, "my kernels/one more.py": WRONG}
    return project(tmp_path / "it's a $HOME; folder", files | {"-kérnel.py": WRONG})


@pytest.mark.parametrize(
    ("words", "kernel"),
    [
        ("gptq-fuzz", "'my kernels/one more.py:f'"),
        (f"python -m gptq_fuzz --case {LINE}", "mine.py:f"),
    ],
)
def test_the_reproduce_line_fails_again_where_it_was_printed(installed, folder, words, kernel):
    status, output = installed.run(f"{words} --kernel {kernel} --device cpu -x", folder)
    assert status == 1, output
    assert "explained by zero-point" in output
    line = reproduce_line(output)
    assert line.startswith(f"gptq-fuzz --kernel {kernel} ")
    again, output = installed.run(line, folder)
    assert (again, "WRONG: " in output) == (1, True), output


@pytest.mark.parametrize(
    ("locale", "encoding"), todays([("C", ""), ("C", "utf-8"), ("C.UTF-8", "")], 3)
)
def test_any_name_can_be_pasted_in_any_locale(installed, folder, locale, encoding):
    variables = {"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    variables["PYTHONIOENCODING"] = encoding
    words = ["gptq-fuzz", "--kernel=-kérnel.py:f", "--case", LINE, "--device", "cpu"]
    status, output = installed.run(words, folder, **variables)
    assert (status, "WRONG: " in output) == (1, True), output
    again, output = installed.run(reproduce_line(output), folder, **variables)
    assert (again, "WRONG: " in output) == (1, True), output


def test_a_user_s_folder_is_left_as_it_was(installed, folder):
    before = {path for path in folder.rglob("*") if "__pycache__" not in path.parts}
    words = "gptq-fuzz --kernel right.py:f --device cpu --budget 1"
    status, output = installed.run(words, folder)
    assert status == 0, output
    after = {path for path in folder.rglob("*") if "__pycache__" not in path.parts}
    assert {path.relative_to(folder).parts[0] for path in after - before} <= {".gptq-fuzz"}


def test_options_of_pytest_and_its_plug_ins_work(installed, folder):
    words = ["gptq-fuzz", "--kernel", "right.py:f", "--device", "cpu", "-n", "1"]
    words += ["-k", "every_element and exact"]
    status, output = installed.run(
        [*words, "--junitxml", "junit.xml", "--json", "run.json", "--hypothesis-profile", "quick"],
        folder,
    )
    assert status == 0, output
    assert "<testsuite " in (folder / "junit.xml").read_text()
    run = json.loads((folder / "run.json").read_text())
    assert run["kernels"]["right.py:f"]["verdicts"].keys() == {"PASS"}


@pytest.mark.parametrize(
    ("words", "output"),
    [
        ("--kernel nowhere.py:f", "there is no file"),
        ("--frobnicate", "unrecognized arguments: --frobnicate"),
    ],
)
def test_a_wrong_command_exits_with_4(installed, folder, words, output):
    status, printed = installed.run(f"gptq-fuzz --device cpu {words}", folder)
    assert status == 4, printed
    assert output in printed


def test_a_kernel_is_judged_where_numpy_is_missing(installed, folder, tmp_path):
    """An engine's own environment (--python) need not hold it."""
    lacks = project(tmp_path / "first", {"numpy.py": "raise ModuleNotFoundError('no numpy here')"})
    words = "gptq-fuzz --kernel right.py:f --device cpu --budget 1"
    status, output = installed.run(words, folder, PYTHONPATH=str(lacks))
    assert status == 0, output


def test_help_names_every_option_and_starts_nothing(installed, folder):
    status, output = installed.run("gptq-fuzz --help", folder)
    assert status == 0
    for option in ("--kernel", "--case", "--only", "--budget", "--timeout", "--junitxml"):
        assert option in output
    assert "--called-as" not in output


def test_a_fingerprint_is_a_command_of_its_own(installed, folder):
    words = "gptq-fuzz fingerprint --kernel right.py:f --device cpu --case m64-n8-k120-b4-gall"
    status, output = installed.run(words, folder)
    assert status == 0, output
    assert "weights: exact" in output


STORES = """
import torch, gptq_fuzz
torch.manual_seed(0)
words = torch.randint(-(2**31), 2**31, (8, 32), dtype=torch.int32)
operands = dict(
    x=torch.randn(3, 64).half(), qweight=words, qzeros=torch.full((2, 4), -1, dtype=torch.int32),
    scales=torch.rand(2, 32).half(), g_idx=torch.arange(64, dtype=torch.int32) // 32, bits=4,
)
gptq_fuzz.save_problem("stored problem.safetensors", **operands)
verdict = gptq_fuzz.verify(torch.zeros(3, 32).half(), **operands)
assert verdict.kind == "WRONG" and not verdict.ok, verdict
"""


def test_a_problem_of_an_engine_becomes_a_command(installed, folder):
    status, output = installed.run(["python", "-c", STORES], folder)
    assert status == 0, output
    words = ["gptq-fuzz", "--problem", "stored problem.safetensors", "--device", "cpu", "--kernel"]
    status, output = installed.run([*words, "right.py:f", "--kernel", "mine.py:f"], folder)
    assert (status, "PASS 1" in output, "WRONG: " in output) == (1, True, True), output
    assert reproduce_line(output).startswith("gptq-fuzz --kernel mine.py:f ")
    status, output = installed.run([*words[:2], "mine.py", *words[3:], "right.py:f"], folder)
    assert (status, "mine.py holds no problem" in output) == (4, True), output


def test_the_kernels_that_come_with_it_run_by_name(installed, folder):
    words = "gptq-fuzz --kernel torch --kernel triton --device cpu"
    words += " --only b4-g32 -k 'every_element and exact' --hypothesis-profile repro"
    status, output = installed.run(words, folder)
    assert status == 0, output
    assert len(re.findall(r"^(?:torch|triton) .*PASS [1-9]", output, re.MULTILINE)) == 2, output


INSTALLED = """
import importlib.util, pathlib, gptq_fuzz
import gptq_fuzz.kernels.custom_autotune, gptq_fuzz.reference.matmul
for module in (gptq_fuzz.kernels.custom_autotune, gptq_fuzz.reference.matmul):
    assert pathlib.Path(gptq_fuzz.__file__).parent in pathlib.Path(module.__file__).parents
    assert importlib.util.find_spec(module.__name__.split(".")[1]) is None
"""


def test_a_file_is_one_module_and_has_no_top_level_name(installed, folder):
    status, output = installed.run(["python", "-c", INSTALLED], folder)
    assert status == 0, output
