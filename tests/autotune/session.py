"""Runs steps, given as words, on tuners and on their model, and compares the two after each.

A step is a name and its fields: `call.m5.n8.k64.f32`, `damage.half.m5.n8.k64`. A line of steps
joined by `-` replays: `replay("tuner.divides-call.m5.n8.k64-clear.0-call.m5.n8.k64")`.
"""

from __future__ import annotations

import copy
import re
import shutil
from pathlib import Path

from tests.autotune.damages import DAMAGES
from tests.autotune.model import ERRORS, HOOKS, KINDS, RELEASES, Call, Content, Memory, Model
from tests.autotune.runner import Mismatch, Runner

OWN_RUN = "python -m pytest tests/autotune/test_machine.py"
ACCIDENTS = ("gone", "swap", "folder")  # deleted, another key's, a folder in its place
PLACES = ("ok", "gone", "file", "readonly")  # of the folder


def replay(line: str, fault=()) -> None:
    """Run a line of steps; Mismatch where tuner and model disagree."""
    session = Session(fault)
    try:
        for step in re.split(r"[\s-]+", line.strip()):
            session.do(step)
    finally:
        session.close()


class Session(Runner):
    """The steps; each changes the tuners and the model alike, or compares them."""

    def __init__(self, fault=()):
        super().__init__()
        self.steps, self.failed = [], ""  # all of them; as a line, where the last one failed
        for target in fault:
            self.world.replace(*target)
        self.tuners = [self.new_tuner("") for _ in self.model.processes]

    def close(self):
        self.world.patches.close()
        shutil.rmtree(self.place)

    def do(self, step: str) -> None:
        """Run one step and compare; ValueError for a step that there is not."""
        name, *rest = step.split(".", 1)
        act = getattr(self, f"do_{name}", None)
        if act is None:
            names = [name[3:] for name in dir(self) if name.startswith("do_")]
            raise ValueError(f"{step!r} is no step, they are {names}")
        self.steps.append(step)
        try:
            act(*rest)
        except Mismatch as problem:
            self.failed = "-".join(self.steps)
            raise Mismatch(f"{problem}\nreplay: {OWN_RUN} --steps {self.failed}") from None

    def do_tuner(self, kind):
        """New processes with another tuner; files stay."""
        kind, *wrapped = kind.split(".")
        if kind not in KINDS or wrapped not in ([], ["wrapped"]):
            raise ValueError(f"{kind!r} is no tuner, they are {KINDS}, then .wrapped or nothing")
        new = Model(kind, direct=not wrapped)
        for name in ("disk", "folder", "failing", "capturing"):
            setattr(new, name, getattr(self.model, name))
        self.model = new
        self.tuners = [self.new_tuner("") for _ in new.processes]

    def do_call(self, text):
        call = Call.parse(text)
        expected = self.model.call(call)
        self.compare([call], [expected], lambda: [self.run(call)])

    def do_warmup(self, text):
        call = Call.parse(text)
        expected = self.model.warmup(call)
        self.compare([call], [expected], lambda: [self.run(call, warmup=True)])

    def do_threads(self, text):
        """Calls of one process at the same time."""
        calls = [Call.parse(part) for part in text.split("_")]
        if len({call.process for call in calls}) > 1:
            raise ValueError(f"threads are of one process, not {text}")
        if self._depends_on_order(calls):
            for call in calls:
                self.do_call(str(call))
            return
        expected = [self.model.call(call) for call in calls]
        self.compare(calls, expected, lambda: self.run_together(calls))

    def _depends_on_order(self, calls):
        """Whether a winner is replaced on the way: then who comes first decides what is timed."""
        if "oor" not in self.model.failing.values():
            return False
        trial = copy.deepcopy(self.model)
        return any(len(trial.call(call).launches) > 1 for call in calls)

    def do_clear(self, process):
        self.tuners[int(process)].clear()
        memory = self.model.processes[int(process)]
        memory.winners.clear()
        memory.paths.clear()

    def do_restart(self, text):
        """Another process in place of one, perhaps with another version of something."""
        process, _, release = text.partition(".")
        if release not in RELEASES:
            raise ValueError(f"{release!r} is no release, they are {RELEASES}")
        self.model.processes[int(process)] = Memory(release)
        self.tuners[int(process)] = self.new_tuner(release)

    def do_fail(self, text):
        """Configs with so many stages fail from now on; `all` of them."""
        stages, _, kind = text.partition(".")
        if kind not in ERRORS:
            raise ValueError(f"{kind!r} is no error, they are {sorted(ERRORS)}")
        for failing in (self.model.failing, self.world.failing):
            failing.update(dict.fromkeys(HOOKS if stages == "all" else [int(stages)], kind))

    def do_heal(self):
        self.model.failing.clear()
        self.world.failing.clear()

    def do_capture(self, switch):
        self.model.capturing = self.world.capturing = {"on": True, "off": False}[switch]

    def do_folder(self, place):
        """The folder is as it should be, is deleted, is a file, or cannot be written."""
        if place not in PLACES:
            raise ValueError(f"{place!r} is no place, they are {PLACES}")
        aside = self.place / "aside"
        if self.model.folder == "file":
            self.folder.unlink()
            if aside.exists():
                aside.rename(self.folder)
        if place == "gone":
            shutil.rmtree(self.folder, ignore_errors=True)
            self.model.disk.clear()
        if place == "file":
            if self.folder.exists():
                self.folder.rename(aside)
            self.folder.write_text("not a folder")
        self.world.readonly = place == "readonly"
        self.model.folder = "ok" if place == "gone" else place

    def do_damage(self, text):
        """Something happens to the file that a call would read, if it is there."""
        kind, _, call = text.partition(".")
        key, keys = self.model.key_of(Call.parse(call)), list(self.model.disk)
        if kind not in (*DAMAGES, *ACCIDENTS):
            raise ValueError(f"{kind!r} is no damage, they are {(*DAMAGES, *ACCIDENTS)}")
        if key not in keys or self.model.folder == "file":
            return
        path, content = Path(self.paths[key]), self.model.disk[key]
        if kind == "gone":
            del self.model.disk[key]
            shutil.rmtree(path) if content.is_folder else path.unlink()
        elif kind == "swap" and not content.is_folder:
            other = keys[keys.index(key) - 1]
            if not self.model.disk[other].is_folder:
                self.model.disk[key] = self.model.disk[other]
                path.write_bytes(Path(self.paths[other]).read_bytes())
        elif kind == "folder" and not content.is_folder:
            self.model.disk[key] = Content(None, None, is_folder=True)
            path.unlink()
            path.mkdir()
        elif kind in DAMAGES and content.owner is not None:
            self.model.disk[key] = Content(None, None)
            path.write_bytes(DAMAGES[kind](path.read_bytes()))
