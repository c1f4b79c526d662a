"""Inside another project's run: nothing happens until it is asked, and then nothing breaks."""

import pytest

from tests.packaging.environments import RIGHT, WRONG, NoIndex, environment, project

# Everything that could meet a name of ours has that name here.
HOST = {
    "pytest.ini": """\
[pytest]
addopts = --strict-markers --strict-config
python_functions = check_*
testpaths = tests
filterwarnings = error
timeout = 60
""",
    "conftest.py": """\
import pytest


def pytest_addoption(parser):
    for name in ("--backend", "--device", "--kernel", "--case", "--only", "--json", "--known"):
        parser.addoption(name, default="the host's")


def pytest_configure(config):
    config.addinivalue_line("markers", "fuzz: the host's own")


@pytest.fixture
def device(request):
    return request.config.getoption("--device")


@pytest.fixture
def backend(request):
    return request.config.getoption("--backend")


@pytest.fixture(params=[1, 2])
def line(request):
    return request.param
""",
    "tests/__init__.py": "",
    "kernels/__init__.py": "WHOSE = 'host'\n",
    "reference/__init__.py": "WHOSE = 'host'\n",
    "mine.py": RIGHT,
    "wrong.py": WRONG,
    "tests/test_host.py": """\
import sys
from pathlib import Path

import pytest

import kernels
import reference
import tests

HERE = Path(__file__).resolve().parents[1]


@pytest.mark.fuzz
def check_the_host_s_own_names_are_its_own(backend, device, line):
    assert (backend, device) == ("the host's", "the host's")
    assert kernels.WHOSE == reference.WHOSE == "host"
    assert Path(tests.__file__).parent == HERE / "tests"
    assert not [place for place in sys.path if place.startswith(str(HERE / "gptq"))]


def check_what_is_imported_late_is_the_host_s(request):
    import kernels.late

    assert kernels.late.WHOSE == "host"
    asked = request.config.getoption("--gptq-fuzz-kernel", default=[])
    assert asked or "torch" not in sys.modules
""",
    "kernels/late.py": "WHOSE = 'host'\n",
}


@pytest.fixture
def host(tmp_path):
    return project(tmp_path / "host", HOST)


def pytest_of(environment, host, *words):
    return environment.run(["python", "-m", "pytest", *words], host)


@pytest.mark.parametrize(
    "words", [(), ("-p", "no:gptq_fuzz"), ("-n", "2"), ("--import-mode=importlib",)], ids=" ".join
)
def test_a_host_that_asks_for_nothing_runs_as_without_it(installed, host, words):
    status, output = pytest_of(installed, host, "-p", "no:cacheprovider", *words)
    assert status == 0, output
    assert "3 passed" in output
    assert not (host / ".gptq-fuzz").exists()


def test_without_the_plug_in_its_options_are_unknown(installed, host):
    words = ("-p", "no:gptq_fuzz", "--gptq-fuzz-kernel", "mine.py:f")
    status, output = pytest_of(installed, host, *words)
    assert status == 4
    assert "unrecognized arguments" in output


def test_an_option_without_a_kernel_is_refused(installed, host):
    status, output = pytest_of(installed, host, "--gptq-fuzz-budget", "5")
    assert status == 4
    assert "--gptq-fuzz-budget wants a kernel: --gptq-fuzz-kernel SPEC" in output


LINE = ("--gptq-fuzz-case", "m1-n32-k32-b4-gall-z0", "--gptq-fuzz-device", "cpu")


@pytest.mark.parametrize("words", [(), ("-n", "1"), ("--import-mode=importlib",)], ids=" ".join)
def test_asked_for_a_kernel_it_judges_it_beside_the_host_s_tests(installed, host, words):
    words = (*words, "--gptq-fuzz-kernel", "wrong.py:f", *LINE)
    status, output = pytest_of(installed, host, *words)
    assert status == 1, output
    assert "1 failed, 3 passed" in output
    assert "reproduce: gptq-fuzz --kernel wrong.py:f --device cpu --case" in output


FEW = """
import hypothesis
hypothesis.settings.register_profile("few", max_examples=5)
hypothesis.settings.load_profile("few")
"""


@pytest.mark.turns(6)
def test_all_conformance_tests_of_a_right_kernel_pass_there(installed, host):
    """But those that take their time, size after size, which run in a checkout too."""
    project(host, {"conftest.py": HOST["conftest.py"] + FEW})
    words = ("--gptq-fuzz-kernel", "mine.py:f", "--gptq-fuzz-only", "b4-g32-exact-seq-zall")
    words += ("-k", "not every_size and not layers")
    status, output = pytest_of(installed, host, *words, "--gptq-fuzz-device", "cpu")
    assert status == 0, output
    assert "mine.py:f" in output
    assert " PASS " in output


@pytest.mark.turns(6)
def test_other_versions_and_neighbours(distributions, host, tmp_path):
    """The oldest pytest that is supported; Hugging Face's package called `kernels`."""
    own = environment(tmp_path / "env", distributions[0])
    try:
        own.install("pytest==8.3.*", "kernels")
    except NoIndex as problem:
        pytest.skip(f"no_index: {str(problem).splitlines()[-1]}")
    status, output = pytest_of(own, host)
    assert status == 0, output
    status, output = pytest_of(own, host, "--gptq-fuzz-kernel", "wrong.py:f", *LINE)
    assert status == 1, output
    assert "1 failed, 3 passed" in output
    words = "gptq-fuzz --kernel mine.py:f --device cpu -k every_element --hypothesis-profile repro"
    status, output = own.run(words, host)
    assert status == 0, output


CHECKS = """\
import gptq_fuzz
import pytest
from mine import f
from wrong import f as wrong


def check_a_right_kernel():
    summary = gptq_fuzz.check(f, only="b4-g32", budget=4, device="cpu")
    assert summary.cases > 20


def check_a_wrong_one_raises_with_its_reproduce_line():
    with pytest.raises(AssertionError, match="reproduce: gptq-fuzz --kernel .*wrong.py:f .*--case"):
        gptq_fuzz.check(wrong, only="b4", budget=20, device="cpu")
"""


@pytest.mark.turns(6)
def test_a_kernel_is_checked_inside_a_test_of_the_host(installed, host):
    project(host, {"tests/test_mine.py": CHECKS})
    status, output = pytest_of(installed, host, "tests/test_mine.py")
    assert status == 0, output
    assert "2 passed" in output
