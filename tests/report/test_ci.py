"""The files for CI: that they can be read, and which commands the action runs."""

import os
import re
import subprocess
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml", reason="no_yaml")  # which dask brings
ROOT = Path(__file__).parents[2]
PYTHON = """#!/bin/sh
[ "$1" = -c ] && exec python3 "$@"
for word; do printf '%s|' "$word" >> said.txt; done
echo >> said.txt
exit $STATUS
"""


def run(tmp_path, status=0, **variables):
    """(exit status, the words of each command) of the action, with a Python that does nothing."""
    fake = tmp_path / "python"
    fake.write_text(PYTHON)
    fake.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "PYTHON": str(fake), "STATUS": str(status)}
    environment["PYTHONPATH"] = str(ROOT)
    output = tmp_path / "output.txt"
    ran = subprocess.run(
        [ROOT / ".ci" / "action"], cwd=tmp_path, check=False,
        env=environment | {"GITHUB_OUTPUT": str(output)} | variables,
    )  # fmt: skip
    said = tmp_path / "said.txt"
    lines = said.read_text().splitlines() if said.exists() else []
    assert output.read_text() == f"status={ran.returncode}\n"
    return ran.returncode, [line.split("|")[:-1] for line in lines]


def test_a_pull_request_judges_what_is_listed_then_a_minute_of_chance(tmp_path):
    more = {"KERNELS": "mine.py:f\nother.py:g\n", "OPTIONS": "--only 'b4 x' --known=$(touch oops)"}
    status, (listed, drawn) = run(tmp_path, STORE="s3://bucket/store", **more)
    assert status == 0
    kernels = ["--store", "s3://bucket/store", "--kernel", "mine.py:f", "--kernel", "other.py:g"]
    for words in (listed, drawn):
        assert words[:2] == ["-m", "gptq_fuzz"]
        assert words[2:8] == kernels
        assert words[-4:] == ["--only", "b4 x", "--known=$(touch", "oops)"]
    assert "-k" in listed
    assert drawn[drawn.index("--budget") + 1] == "60"
    assert not (tmp_path / "oops").exists()


def test_what_is_listed_fails_at_once(tmp_path):
    status, commands = run(tmp_path, status=1)
    assert (status, len(commands)) == (1, 1)


def test_a_night_is_a_campaign_and_its_page(tmp_path):
    status, (campaign, report) = run(tmp_path, status=2, MODE="nightly", MINUTES="5")
    assert status == 2
    assert campaign[2] == "campaign"
    assert campaign[campaign.index("--minutes") + 1] == "5"
    assert report[2] == "report"


def test_an_unknown_mode_is_a_wrong_option(tmp_path):
    assert run(tmp_path, MODE="weekly") == (4, [])


def test_a_python_without_the_package_is_a_wrong_option(tmp_path):
    assert run(tmp_path, PYTHONPATH="") == (4, [])


def test_the_tests_that_a_pull_request_asks_for_are_there():
    text = (ROOT / ".ci" / "action").read_text()
    wanted = re.search(r'-k "(.*?)"', text)[1].split(" or ")
    suite = (ROOT / "gptq_fuzz" / "conformance" / "test_conformance.py").read_text()
    assert len(wanted) == 3
    for name in wanted:
        assert re.search(rf"^def test_\w*{name}", suite, re.MULTILINE), name


def test_the_action_hands_on_every_input():
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    steps = {step["name"]: step for step in action["runs"]["steps"]}
    given = " ".join(str(step) for step in steps.values())
    for name in action["inputs"]:
        assert f"inputs.{name}" in given, name
    script = (ROOT / ".ci" / "action").read_text()
    for name in steps["Judge"]["env"]:
        assert f"${{{name}" in script, name


@pytest.mark.parametrize(
    "path",
    sorted([*ROOT.glob(".github/workflows/*.yml"), *ROOT.glob("docs/ci/*.yml")]),
    ids=lambda path: path.name,
)
def test_each_workflow_can_be_read_and_uses_inputs_that_there_are(path):
    found = yaml.safe_load(path.read_text())
    known = yaml.safe_load((ROOT / "action.yml").read_text())["inputs"]
    for job in found.get("jobs", {}).values():
        for step in job["steps"]:
            if step.get("uses") in ("./", "gptq-fuzz/gptq-fuzz@main"):
                assert step.get("with", {}).keys() <= known.keys()


@pytest.mark.parametrize("path", [".ci/action", ".ci/run", "docs/ci/campaign.sbatch"])
def test_each_script_is_one(path):
    assert subprocess.run(["bash", "-n", ROOT / path], check=False).returncode == 0
