"""Root of every run: the plug-in, Hypothesis profiles, and what a machine without a GPU needs."""

import os
from pathlib import Path
from unittest import mock

import pytest
import torch
from hypothesis import settings

HAS_GPU = torch.cuda.is_available()
if not HAS_GPU:
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports triton

pytest_plugins = ["tests.suite.plugin", "tests.bench.plugin"]

# Every value is explicit and the parent is named: else CI's automatic profile is inherited.
BASE = settings.get_profile("default")
settings.register_profile(
    "dev", BASE, max_examples=25, derandomize=False, database=None, deadline=None, print_blob=False
)
settings.register_profile(
    "pr", BASE, max_examples=50, derandomize=True, database=None, deadline=None, print_blob=False
)
settings.register_profile(
    "nightly",
    BASE,
    max_examples=5000,
    derandomize=False,
    database=None,
    deadline=None,
    print_blob=True,
)
settings.register_profile(
    "repro", BASE, max_examples=1, derandomize=True, database=None, deadline=None, print_blob=False
)
settings.load_profile("dev")


def pytest_configure(config):
    """Refuse to test another distribution's `kernels` in place of this checkout's."""
    import kernels

    ours = Path(__file__).resolve().parent / "kernels" / "__init__.py"
    if Path(kernels.__file__ or "").resolve() != ours:
        raise pytest.UsageError(f"`import kernels` gives {kernels.__file__}, wanted {ours}")


def pytest_collection_modifyitems(items):
    """Tests that need a CUDA device are skipped without one."""
    if HAS_GPU:
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no_gpu"))


@pytest.fixture(scope="session")
def device() -> str:
    """Where tensors of in-process tests live."""
    return "cuda" if HAS_GPU else "cpu"


@pytest.fixture
def own_environment():
    """What a test, or a worker that it makes in this process, puts into it goes with the test."""
    with mock.patch.dict(os.environ):
        yield
