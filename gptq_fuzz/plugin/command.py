"""The plug-in of `gptq-fuzz` and of the checkout: short names, our Hypothesis profiles."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.errors import InvalidArgument

from gptq_fuzz.plugin import run
from gptq_fuzz.plugin.options import add_options

# Every value is explicit and the parent is named: else CI's automatic profile is inherited.
BASE = settings.get_profile("default")
PLAIN = {"database": None, "deadline": None, "print_blob": False}
settings.register_profile("quick", BASE, max_examples=10, derandomize=False, **PLAIN)
settings.register_profile("dev", BASE, max_examples=25, derandomize=False, **PLAIN)
settings.register_profile("pr", BASE, max_examples=50, derandomize=True, **PLAIN)
settings.register_profile(
    "nightly", BASE, max_examples=5000, derandomize=False, **(PLAIN | {"print_blob": True})
)
settings.register_profile("repro", BASE, max_examples=1, derandomize=True, **PLAIN)
settings.load_profile("dev")


def pytest_addoption(parser):
    """The options of the suite by their short names."""
    add_options(parser)


@pytest.hookimpl(tryfirst=True)  # Hypothesis raises, as an internal error, when it loads one
def pytest_configure(config):
    """Every run of these is about kernels under test. Raises UsageError for an unknown profile."""
    profile = config.getoption("--hypothesis-profile", None)
    if profile is not None:
        try:
            settings.get_profile(profile)
        except InvalidArgument as problem:
            raise pytest.UsageError(f"--hypothesis-profile {profile}: {problem}") from problem
    config.pluginmanager.register(run, "gptq_fuzz_run")
