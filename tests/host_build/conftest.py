"""Programs of tests: sources of this folder, or a module's C++ text PROGRAM."""

import functools

import pytest

from tests.host_build import programs


@pytest.fixture(scope="module")
def ask(request, tmp_path_factory):
    """What the module's PROGRAM prints to some words, word by word."""
    folder = tmp_path_factory.mktemp("program")
    return functools.partial(programs.answer, programs.build_text(request.module.PROGRAM, folder))


@pytest.fixture(scope="module")
def built(request, tmp_path_factory):
    """Name of a source -> its program with the module's FLAGS, built when first asked for."""
    folder = tmp_path_factory.mktemp("built")
    return lambda name: programs.build(name, folder, request.module.FLAGS)


@pytest.fixture(scope="module")
def numbers(ask):
    return lambda *words, **how: [int(word) for word in ask(*words, **how)]
