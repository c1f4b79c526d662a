"""The plug-in among others: pytest's own registration, without a run."""

import pytest

from gptq_fuzz.plugin import run as plugin


@pytest.fixture
def manager():
    made = pytest.PytestPluginManager()
    made.register(plugin, "the suite's")
    return made


def test_time_outs_are_taken_from_a_plugin_that_registers_later(manager):
    class Late:
        """As pytest-timeout where a conftest.py loads it."""

        def pytest_configure(self, config):
            raise AssertionError("never called")

    manager.register(Late())
    last_to_first = manager.hook.pytest_configure.get_hookimpls()
    assert last_to_first[-1].plugin is plugin


def test_no_hook_of_an_optional_plugin_is_unknown_without_it(manager):
    manager.check_pending()
    assert any(one.plugin is plugin for one in manager.hook.pytest_testnodedown.get_hookimpls())
