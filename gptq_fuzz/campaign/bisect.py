"""`gptq-fuzz bisect LINE --good REV`: the first commit of a kernel's repository at which a line
fails.

`git bisect run` works in a tree of its own, so that the user's stays as it is. What judges is this
package as it is installed, or checked out, now: only the kernel is that of each commit.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gptq_fuzz._checkout import PACKAGE
from gptq_fuzz.case.history import BETWEEN
from gptq_fuzz.store.words import Parser, complain, say
from gptq_fuzz.worker.loader import BUILT_IN

FOUND, SKIPPED = 1, 125  # what `git bisect run` takes for a bad commit, and for one that is no use
FIRST = re.compile(r"^([0-9a-f]{40}) is the first '?bad'? commit$", re.MULTILINE)
# The suite's exit status 0 is right, 1 wrong; a kernel that does not load says nothing.
JUDGE = f'"$@"; status=$?; [ $status -le {FOUND} ] || exit {SKIPPED}; exit $status'


class CannotBisect(Exception):
    """The message says why."""


def main(words: list[str]) -> int:
    """Run the sub-command; gives the exit status: 0 where the commit was found."""
    parser = Parser("gptq-fuzz bisect", description=__doc__)
    parser.add_argument(
        "line", metavar="LINE", nargs="+", help="of --case (several: in this order) or of --steps"
    )
    parser.add_argument("--kernel", metavar="SPEC", required=True)
    parser.add_argument("--good", metavar="REV", required=True, help="a commit at which it passes")
    parser.add_argument("--bad", metavar="REV", default="HEAD", help="default: %(default)s")
    parser.add_argument("--device", metavar="DEVICE")
    asked = parser.parse_args(words)
    if asked.kernel in BUILT_IN:
        return complain(f"--kernel {asked.kernel}: what is built in comes with this package")
    try:
        commit = bisected(asked.line, asked.kernel, asked.good, asked.bad, asked.device)
    except CannotBisect as problem:
        return complain(str(problem))
    say(commit)
    return 0


def bisected(
    lines: list[str], kernel: str, good: str, bad: str = "HEAD", device: str | None = None
) -> str:
    """What git says of the first bad commit. Raises CannotBisect."""
    top = _git(".", "rev-parse", "--show-toplevel").strip()
    good, bad = (
        _git(top, "rev-parse", "--verify", f"{rev}^{{commit}}").strip() for rev in (good, bad)
    )
    below = Path.cwd().resolve().relative_to(Path(top).resolve())
    with _tree(top) as tree:
        here = tree / below
        command = ["sh", "-c", JUDGE, "sh", *_judging(lines, kernel, device)]
        for rev, is_right in ((good, True), (bad, False)):
            _git(tree, "checkout", "--quiet", "--detach", rev)
            _must_be(command, here, rev, is_right)
        _git(tree, "bisect", "start", bad, good, "--")
        # `git bisect run` starts the command at the top of the tree.
        moved = ["sh", "-c", f'cd {shlex.quote(str(here))} && exec "$@"', "sh", *command]
        ran = _git(tree, "bisect", "run", *moved)
        found = FIRST.search(ran)
        if found is None:
            raise CannotBisect(f"no single commit: {ran.strip()[-2000:]}")
        return _git(tree, "show", "--no-patch", "--format=%H%n%an, %ad%n%s", found[1]).strip()


def _judging(lines: list[str], kernel: str, device: str | None) -> list[str]:
    """The command that judges the lines, wherever it is started."""
    is_history = len(lines) == 1 and BETWEEN in lines[0]
    option = "--steps" if is_history else "--case"
    words = [sys.executable, str(PACKAGE), "--kernel", kernel, "-q"]
    words += ["--device", device] if device else []
    return words + [word for line in lines for word in (option, line)]


def _must_be(command: list[str], folder: Path, rev: str, is_right: bool) -> None:
    """What git is told of the two ends must be so."""
    ran = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if ran.returncode != (0 if is_right else FOUND):
        found = {0: "passes", FOUND: "fails"}.get(ran.returncode, "was not judged")
        tail = "" if ran.returncode in (0, FOUND) else f": {ran.stdout.strip()[-2000:]}"
        raise CannotBisect(f"at {rev[:12]} the line {found}{tail}")


@contextlib.contextmanager
def _tree(top: str) -> Iterator[Path]:
    """A work tree of its own, with a bisection of its own."""
    with tempfile.TemporaryDirectory(prefix="gptq-fuzz-bisect-") as folder:
        tree = Path(folder).resolve() / "tree"
        _git(top, "worktree", "add", "--quiet", "--detach", str(tree))
        try:
            yield tree
        finally:
            _git(top, "worktree", "remove", "--force", str(tree))


def _git(folder: str | os.PathLike, *words: str) -> str:
    """What git prints. Raises CannotBisect."""
    try:
        ran = subprocess.run(
            ["git", "-C", str(folder), *words],
            **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True},
        )
    except OSError as problem:
        raise CannotBisect(f"git: {problem}") from problem
    is_search = words[:2] == ("bisect", "run")  # which fails where commits were skipped
    if ran.returncode and not is_search:
        raise CannotBisect(f"git {words[0]}: {ran.stdout.strip()}")
    return ran.stdout
