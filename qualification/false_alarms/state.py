"""What earlier runs have judged, in a file that is rewritten after every chunk."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from qualification.false_alarms.chunk import Tally, digest

VERSION = 1


@dataclass
class Progress:
    """One kernel: the seeds done and what they found."""

    digest: str
    seeds: set[int] = field(default_factory=set)
    tally: Tally = field(default_factory=Tally)

    def to_json(self) -> dict:
        seeds = {"digest": self.digest, "seeds": ranges(self.seeds)}
        return seeds | dataclasses.asdict(self.tally)

    @classmethod
    def from_json(cls, data: dict) -> Progress:
        counts = {key.name: data[key.name] for key in dataclasses.fields(Tally)}
        seeds = {seed for first, last in data["seeds"] for seed in range(first, last + 1)}
        return cls(data["digest"], seeds, Tally(**counts))

    def next_seed(self, running: set[int]) -> int:
        """The smallest seed that is neither done nor being judged."""
        seed = 0
        while seed in self.seeds or seed in running:
            seed += 1
        return seed


def ranges(seeds: set[int]) -> list[list[int]]:
    """[first, last] of every run of neighbours."""
    found: list[list[int]] = []
    for seed in sorted(seeds):
        if found and seed == found[-1][1] + 1:
            found[-1][1] = seed
        else:
            found.append([seed, seed])
    return found


class State:
    """All kernels of a run; what was judged by other code is started anew, unless it may be old."""

    def __init__(self, path: Path, names: list[str], current: bool = True):
        self.path = path
        self._others = _read(path)
        self.kernels = {}
        for name in names:
            known, now = self._others.pop(name, None), digest(name)
            is_kept = known is not None and (known["digest"] == now or not current)
            self.kernels[name] = Progress.from_json(known) if is_kept else Progress(now)

    def save(self) -> None:
        """Rewrite the file as a whole, so that a run may be ended at any time."""
        mine = {name: progress.to_json() for name, progress in self.kernels.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        kernels = dict(sorted((self._others | mine).items()))
        fresh.write_text(json.dumps({"version": VERSION, "kernels": kernels}, indent=1))
        os.replace(fresh, self.path)


def _read(path: Path) -> dict:
    if not path.is_file():
        return {}
    data = json.loads(path.read_text())
    if data.get("version") != VERSION:
        raise ValueError(f"{path}: wanted version {VERSION}, got {data.get('version')}")
    return data["kernels"]
