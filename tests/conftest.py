"""What tests of this repository share."""

import os
from unittest import mock

import pytest
import torch

from gptq_fuzz.case.case import Case
from gptq_fuzz.plugin.options import asked_of
from tests.turns import is_todays, todays

HAS_GPU = torch.cuda.is_available()
# Of gptq_fuzz/conformance
LISTED = "test_axis_values_are_right_together"  # pairs, then triples
DAYS = {  # of others that are many or slow
    "test_histories_of_an_engine_are_right": 18,
    "test_every_corpus_line_passes": 18,
    "test_every_element_is_right": 12,
    # Of our three kernels one a day
    "test_offsets_beyond_32_bits_are_right": 3,
    "test_large_sizes_that_meet_are_right": 3,
    "test_no_more_memory_is_kept_with_every_call": 3,
    "test_layers_in_every_combination_are_right": 3,
}


def pytest_collection_modifyitems(config, items):
    """Of listed pairs a 30th runs a day, of triples a 60th, of what takes `turns` its
    share; of what needs a GPU nothing without.

    All conformance tests run where they are asked for alone, as `gptq-fuzz` does.
    """
    turns = [
        ([item for item in items if getattr(item, "originalname", "") == name], days)
        for name, days in DAYS.items()
    ]
    for pairs, triples in _listed(items):
        turns += [(pairs, 30), (triples, 60)]
    left_out = {item for listed, days in turns for item in {*listed} - {*todays(listed, days)}}
    left_out |= {item for item in items if not _is_due(item)}
    config.hook.pytest_deselected(items=[*left_out])
    items[:] = [item for item in items if item not in left_out]
    if HAS_GPU:
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no_gpu"))


def _is_due(item):
    """Whether this is the day of a test that takes turns."""
    mark = item.get_closest_marker("turns")
    if mark is None:
        return True
    name = item.path.stem if mark.kwargs.get("whole") else item.name
    return is_todays(name, *mark.args)


def _listed(items):
    """Of each kernel: pairs, and triples, the end of its list, where nothing is rounded and no
    condition set.
    """
    lists = {}
    for item in items:
        case = item.callspec.params.get("case") if hasattr(item, "callspec") else None
        if isinstance(case, Case) and item.originalname == LISTED:
            pairs, triples = lists.setdefault(item.callspec.params["backend"], ([], []))
            triples.append(item)
            if case.fill != "exact" or case.condition:
                pairs += triples
                triples.clear()
    return lists.values()


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
