"""Another commit of this repository, checked out beside it for as long as a run takes."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path


class NoSuchCommit(Exception):
    """git does not check the revision out; the message is git's."""


class Checkout:
    """A worktree of `repository` at `revision` in a temporary folder; or a folder as it is.

    Raises NoSuchCommit.
    """

    def __init__(self, repository: Path, revision: str):
        self.repository, self.revision = repository, revision
        self._folder = None
        if Path(revision, "kernels").is_dir():
            self.tree = Path(revision).resolve()
            return
        self._folder = Path(tempfile.mkdtemp(prefix="gptq-fuzz-against-"))
        self.tree = self._folder / "tree"
        added = self._git("worktree", "add", "--detach", "--quiet", str(self.tree), revision)
        if added.returncode:
            shutil.rmtree(self._folder)
            raise NoSuchCommit(f"--against {revision}: {added.stderr.strip()}")

    @property
    def name(self) -> str:
        """The revision as it was given, and its commit."""
        if self._folder is None:
            return self.revision
        commit = self._git("-C", str(self.tree), "rev-parse", "--short=12", "HEAD").stdout.strip()
        return f"{self.revision} ({commit})"

    def remove(self) -> None:
        """Leave the repository as it was."""
        if self._folder is None:
            return
        self._git("worktree", "remove", "--force", str(self.tree))
        shutil.rmtree(self._folder, ignore_errors=True)

    def _git(self, *words: str) -> subprocess.CompletedProcess:
        command = ["git", "-C", str(self.repository), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)
