"""Hypothesis profiles are what the plug-in says, also where CI would change them unseen."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STATED = {
    # profile: examples, derandomised, prints blobs; none has a database or a deadline
    "dev": (25, False, False),
    "pr": (50, True, False),
    "nightly": (5000, False, True),
    "repro": (1, True, False),
}
ASK = """
import json, sys, gptq_fuzz.plugin.command
from hypothesis import settings
found = {name: settings.get_profile(name) for name in sys.argv[1:]} | {"chosen": settings()}
print(json.dumps({name: [
    made.max_examples, made.derandomize, made.print_blob, repr(made.database), repr(made.deadline)
] for name, made in found.items()}))
"""


@pytest.fixture(scope="module", params=["without CI", "with CI"])
def profiles(request):
    """Profile -> its values, as a fresh process sees them."""
    inherited = {key: value for key, value in os.environ.items() if key not in SAYS_CI}
    if request.param == "with CI":
        inherited |= {"CI": "1", "GITHUB_ACTIONS": "true"}
    command = [sys.executable, "-c", ASK, *STATED]
    asked = subprocess.run(
        command, cwd=ROOT, env=inherited, capture_output=True, text=True, check=True
    )
    return json.loads(asked.stdout)


SAYS_CI = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "BUILDKITE", "CIRCLECI", "TEAMCITY_VERSION")


@pytest.mark.parametrize("name", STATED)
def test_a_profile_has_exactly_the_stated_values(profiles, name):
    assert profiles[name] == [*STATED[name], "None", "None"]


def test_dev_is_the_profile_when_none_is_named(profiles):
    assert profiles["chosen"] == profiles["dev"]
