"""What the sanitizers are told of fibers is code of its own, which other builds leave out."""

import subprocess

import pytest

from tests.host_build import programs

pytestmark = pytest.mark.skipif(programs.compiler() is None, reason="no_compiler")


@pytest.mark.parametrize("unit", programs.UNITS)
def test_the_kernels_are_read_without_a_warning_under_the_sanitizers(unit):
    """`tox run -e sanitize` runs them; this is over in seconds."""
    flags = [*programs.COMMON, *programs.SANITIZERS, "-fsyntax-only", "-x", "c++"]
    command = [*programs.compiler(), *flags, str(programs.UNITS[unit])]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
