"""Tests are called: what the suite's plug-in does around them must not take their place."""

import pytest


@pytest.fixture(scope="module")
def noted():
    notes = []
    yield notes
    assert notes == ["called"]  # here, not in the test, which would not be called either


def test_a_test_is_called(noted):
    noted.append("called")
