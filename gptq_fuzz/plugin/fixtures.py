"""What tests of kernels share; their modules import it, so that it holds in these alone."""

from __future__ import annotations

import pytest

from gptq_fuzz.plugin.session import SESSION
from gptq_fuzz.search.findings import has_enough


@pytest.fixture
def backend(request):
    """The kernel under test; a test of one that has failed enough is not run."""
    session = request.config.stash[SESSION]
    under_test = session.kernels[request.param]
    if has_enough(under_test):
        pytest.skip("enough_findings")
    return under_test


def over_kernels(metafunc) -> None:
    """Run a test that wants `backend` once for each kernel of the run."""
    if "backend" in metafunc.fixturenames:
        kernels = metafunc.config.stash[SESSION].kernels
        metafunc.parametrize("backend", list(kernels), indirect=True)
