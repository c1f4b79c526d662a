"""The plug-in that pytest finds where the package is installed: it waits until it is asked.

It adds one group of options, `--gptq-fuzz-...`. With `--gptq-fuzz-kernel SPEC` the conformance
tests of that kernel join the run; without, nothing is imported, written or started.
"""

from __future__ import annotations

from pathlib import Path

import pytest

CONFORMANCE = Path(__file__).resolve().parents[1] / "conformance" / "test_conformance.py"


def pytest_addoption(parser):
    """The options of the suite, each with its prefix."""
    from gptq_fuzz.plugin.options import PREFIX, add_options

    add_options(parser, PREFIX)


def pytest_configure(config):
    """Asked for a kernel, put it under test beside the tests of the run."""
    if config.pluginmanager.has_plugin("gptq_fuzz.plugin.command"):
        return  # the command's own run, or a checkout's
    if not config.option.gptq_fuzz_kernel:
        _refuse_options_without_a_kernel(config)
        return
    from gptq_fuzz.plugin import run

    config.args.append(str(CONFORMANCE))
    config.pluginmanager.register(run, "gptq_fuzz_run")


def _refuse_options_without_a_kernel(config) -> None:
    from gptq_fuzz.plugin.options import OPTIONS, PREFIX, destination

    for name, settings in OPTIONS.items():
        if getattr(config.option, destination(name)) != settings.get("default"):
            raise pytest.UsageError(f"--{PREFIX}{name} wants a kernel: --{PREFIX}kernel SPEC")
