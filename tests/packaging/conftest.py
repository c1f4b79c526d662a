"""The distributions of this checkout, built once, and an environment with the wheel."""

import subprocess
import sys

import pytest

from tests.packaging.environments import ROOT, environment


@pytest.fixture(scope="session")
def distributions(tmp_path_factory):
    """(wheel, sdist): the wheel is built from the sdist, as `python -m build` does."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="session")
def installed(distributions, tmp_path_factory):
    """An environment with the wheel and without the checkout."""
    return environment(tmp_path_factory.mktemp("installed") / "env", distributions[0])
