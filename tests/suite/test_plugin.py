"""The plug-in: registered among others, its Hypothesis profiles, and what several workers saw."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from gptq_fuzz._checkout import ROOT
from gptq_fuzz.plugin import run as plugin
from gptq_fuzz.plugin.report import compiled_in_words, gather, merged, share
from gptq_fuzz.worker.served import specialisation

SAYS_CI = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "BUILDKITE", "CIRCLECI", "TEAMCITY_VERSION")
STATED = {
    # profile: examples, derandomised, prints blobs; none has a database or a deadline
    "quick": [10, False, False],
    "dev": [25, False, False],
    "pr": [50, True, False],
    "nightly": [5000, False, True],
    "repro": [1, True, False],
}
ASK = """
import json, sys, gptq_fuzz.plugin.command
from hypothesis import settings
found = {name: settings.get_profile(name) for name in sys.argv[1:]} | {"chosen": settings()}
print(json.dumps({name: [
    one.max_examples, one.derandomize, one.print_blob, repr(one.database), repr(one.deadline)
] for name, one in found.items()}))
"""


@pytest.fixture(scope="module")
def called():
    notes = []
    yield notes
    assert notes == ["called"]  # here, not in the test, which would not be called either


def test_a_test_is_called(called):
    """What the plug-in does around tests must not take their place."""
    called.append("called")


@pytest.fixture
def manager():
    manager = pytest.PytestPluginManager()
    manager.register(plugin, "the suite's")
    return manager


def test_a_plug_in_that_registers_later_is_configured_later(manager):
    class Late:
        """As pytest-timeout where a conftest.py loads it."""

        def pytest_configure(self, config):
            raise AssertionError("never called")

    manager.register(Late())
    last_to_first = manager.hook.pytest_configure.get_hookimpls()
    assert last_to_first[-1].plugin is plugin


def test_no_hook_of_an_optional_plug_in_is_unknown_without_it(manager):
    manager.check_pending()
    assert any(one.plugin is plugin for one in manager.hook.pytest_testnodedown.get_hookimpls())


@pytest.mark.parametrize("variables", [{}, {"CI": "1", "GITHUB_ACTIONS": "true"}], ids=["", "CI"])
def test_a_profile_has_the_stated_values_where_ci_would_change_them_too(variables):
    inherited = {key: value for key, value in os.environ.items() if key not in SAYS_CI}
    command = [sys.executable, "-c", ASK, *STATED]
    pipes = {"cwd": ROOT, "capture_output": True, "text": True, "check": True}
    asked = subprocess.run(command, env=inherited | variables, **pipes)
    wanted = STATED | {"chosen": STATED["dev"]}
    assert json.loads(asked.stdout) == {
        name: [*has, "None", "None"] for name, has in wanted.items()
    }


def seen(**changes):
    """What one xdist worker reports of one kernel."""
    return {
        "verdicts": {"PASS": 2}, "skips": {}, "values": {"m=1": 2}, "cases": 2, "seconds": 1.0,
        "restarts": 0, "missing": ["m=0", "bits=2"], "used": 0.1,
        "pairs_missing": ["a=1 with b=2", "a=1 with b=3"], "specialisations": ["one[]"],
        "triples_missing": ["t", "u"], "used_by": "a", "fingerprints": {}, "series": {},
        "first_verdict": {}, "first_failure": None, "first_finding": None, "ended": 3.0,
        "used_by_fill": {"exact": [1, 1]},
    } | changes  # fmt: skip


def merged_reports(*reports):
    """(the whole, what it holds of the one kernel): (what a worker saw, its texts) each."""
    config = SimpleNamespace(stash=pytest.Stash())
    empty = {"findings": [], "texts": [], "waivers": [], "left_out": {}, "kernels": {}}
    for kernel, texts in reports:
        gather(config, empty | {"kernels": {"torch": kernel}, "texts": texts})
    whole = merged(dict(empty), config)
    return whole, whole["kernels"]["torch"]


def test_reports_of_several_workers_add_up():
    other = seen(
        verdicts={"PASS": 1, "WRONG": 1}, values={"m=0": 2}, missing=["bits=2"], used=0.3,
        pairs_missing=["a=1 with b=3"], triples_missing=["u", "v"], specialisations=["two[]"],
        first_verdict={"line": "b"}, first_failure=2.5,
        used_by_fill={"exact": [0, 1], "randn": [1, 0]},
    )  # fmt: skip
    whole, torch = merged_reports((seen(), ["found"]), (other, ["found", "more"]))
    assert whole["texts"] == ["found", "more"]
    assert (torch["cases"], torch["seconds"], torch["used"]) == (4, 2.0, 0.3)
    assert torch["verdicts"] == {"PASS": 3, "WRONG": 1}
    assert torch["values"] == {"m=1": 2, "m=0": 2}
    assert (torch["missing"], torch["pairs_missing"]) == (["bits=2"], ["a=1 with b=3"])
    assert torch["triples_missing"] == ["u"]
    assert torch["used_by_fill"] == {"exact": [1, 2], "randn": [1, 0]}
    assert torch["specialisations"] == ["one[]", "two[]"]
    assert (torch["first_verdict"], torch["first_failure"]) == ({"line": "b"}, 2.5)


def test_the_first_failure_of_several_workers_is_the_earliest():
    early = seen(first_failure=2.0, first_finding=5.0)
    late = seen(first_failure=3.0, first_finding=4.0, ended=9.0)
    _, torch = merged_reports((seen(), []), (early, []), (late, []))
    assert [torch[name] for name in ("first_failure", "first_finding", "ended")] == [2.0, 4.0, 9.0]


def compiled(block, warps=4, name="matmul"):
    """What Triton's hook reports of one binary."""
    parameters = [SimpleNamespace(name="x_ptr"), SimpleNamespace(name="BLOCK_SIZE_M")]
    return {
        "repr": f"{name}[num_warps={warps}, num_stages=3](x_ptr: *fp16)",
        "fn": SimpleNamespace(jit_function=SimpleNamespace(params=parameters)),
        "compile": {"constants": {(1,): block}},
    }


def test_a_specialisation_is_named_with_its_constants():
    wanted = "matmul[num_warps=4, num_stages=3](x_ptr: *fp16) BLOCK_SIZE_M=64"
    assert specialisation(compiled(64)) == wanted
    assert specialisation({"repr": "matmul[]()"}) == "matmul[]()"


def test_specialisations_are_counted_by_kernel_and_launch_config():
    reported = [compiled(16), compiled(64), compiled(64, warps=8), compiled(64, name="other")]
    reported.append(compiled(64) | {"repr": "matmul[num_warps=4, num_stages=3](x_ptr: *bf16)"})
    binaries = [specialisation(each) for each in reported]
    assert compiled_in_words(binaries) == "5 specialisations of 2 kernels, 4 launch configs"


def test_all_pairs_are_100_percent_and_nothing_less_is():
    assert (share(5000, 5000), share(4999, 5000)) == ("100% of 5000", "99.9% of 5000")
    assert share(1, 3) == "33.3% of 3"
