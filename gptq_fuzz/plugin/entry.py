"""The plug-in that pytest finds where the package is installed: it waits until it is asked.

It adds one group of options, `--gptq-fuzz-...`. With `--gptq-fuzz-kernel SPEC` the conformance tests
of that kernel join the run; without, nothing is imported, made or started.
"""

from __future__ import annotations

from pathlib import Path

CONFORMANCE = Path(__file__).resolve().parents[1] / "conformance" / "test_conformance.py"


def pytest_addoption(parser):
    """The options of the suite, each with its prefix."""
    from gptq_fuzz.plugin.options import PREFIX, add_options

    add_options(parser, PREFIX)


def pytest_configure(config):
    """Asked for a kernel, put it under test beside the tests of the run."""
    if not config.option.gptq_fuzz_kernel or config.pluginmanager.has_plugin("gptq_fuzz_run"):
        return
    from gptq_fuzz.plugin import run

    config.args.append(str(CONFORMANCE))
    config.pluginmanager.register(run, "gptq_fuzz_run")
