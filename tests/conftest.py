"""What tests of this repository share."""

import os
from unittest import mock

import pytest
import torch

from gptq_fuzz.plugin.options import asked_of

HAS_GPU = torch.cuda.is_available()


def pytest_collection_modifyitems(items):
    """Tests that need a CUDA device are skipped without one."""
    if HAS_GPU:
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no_gpu"))


def pytest_generate_tests(metafunc):
    """`given_steps`: what --steps says."""
    if "given_steps" in metafunc.fixturenames:
        metafunc.parametrize("given_steps", asked_of(metafunc.config).steps)


@pytest.fixture(scope="session")
def device() -> str:
    """Where tensors of in-process tests live."""
    return "cuda" if HAS_GPU else "cpu"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As in a worker: small operations on several threads mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def own_environment():
    """What a test, or a worker that it makes in this process, puts into it goes with the test."""
    with mock.patch.dict(os.environ):
        yield
