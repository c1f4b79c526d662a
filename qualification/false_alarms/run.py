"""The command: chunks in parallel until every kernel has its share, then a table."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import defaultdict
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from qualification.false_alarms.chunk import ROOT, Tally, judge_chunk, kernels
from qualification.false_alarms.state import State
from qualification.false_alarms.table import README, TABLE, findings, readme, render

CASES, ELEMENTS = 10_000, 10**8
STATE = ROOT / "benchmarks" / "false_alarms.json"
PLAIN_EVERY = 30.0  # seconds between two lines where nothing can be drawn in place


def main(argv: list[str]) -> int:
    """0 where no correct kernel was alarmed about, 1 otherwise."""
    asked = _parse(argv)
    state = State(asked.state, asked.kernel or list(kernels()))
    console = Console(soft_wrap=True, highlight=False)
    try:
        with Runs(state, asked, console) as runs:
            runs.until_done()
    except KeyboardInterrupt:
        console.print("ended early; the same command goes on from here")
    console.print(render(state), markup=False)
    for line in findings(state):
        console.print(line, markup=False)
    if asked.state == STATE and set(state.kernels) == set(kernels()):
        TABLE.write_text(render(state))
        README.write_text(readme(README.read_text(), state))
    return int(any(progress.tally.alarms for progress in state.kernels.values()))


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m qualification.false_alarms")
    add = parser.add_argument
    add("--cases", type=int, default=CASES, help="of each kernel, at least (%(default)s)")
    add("--elements", type=float, default=ELEMENTS, help="of each kernel, at least (%(default)s)")
    add("--kernel", action="append", choices=list(kernels()), help="only this one; repeatable")
    add("--state", type=Path, default=STATE, help="where the run goes on (%(default)s)")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="processes (%(default)s)")
    return parser.parse_args(argv)


def _one_thread() -> None:
    """As a worker of the suite is set up; the kernels' own words are not ours to print."""
    import torch

    torch.set_num_threads(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)


class Runs:
    """The pool, what it is at, and the line that shows it."""

    def __init__(self, state: State, asked: argparse.Namespace, console: Console):
        self._state, self._asked, self._console = state, asked, console
        self._pending: dict[Future[Tally], tuple[str, int]] = {}
        self._pool = ProcessPoolExecutor(
            asked.jobs, mp_context=get_context("spawn"), initializer=_one_thread
        )
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("false alarms", total=1.0)
        self._last_plain = time.monotonic()

    def __enter__(self) -> Runs:
        self._bar.start()
        return self

    def __exit__(self, kind, *_error) -> None:
        self._bar.stop()
        self._pool.shutdown(cancel_futures=True)

    def until_done(self) -> None:
        """Hand out chunks, the kernel that lacks most first, and save each when it is done."""
        while True:
            while len(self._pending) < self._asked.jobs and (name := self._next()):
                running = {seed for other, seed in self._pending.values() if other == name}
                seed = self._state.kernels[name].next_seed(running)
                self._pending[self._pool.submit(judge_chunk, name, seed)] = (name, seed)
            if not self._pending:
                return
            done, _ = wait(self._pending, timeout=PLAIN_EVERY, return_when=FIRST_COMPLETED)
            for future in done:
                self._take(future)
            self._show()

    def _next(self) -> str | None:
        running = defaultdict(int)
        for name, _ in self._pending.values():
            running[name] += 1
        shares = {
            name: self._share(name) + running[name] * 50 / max(self._asked.cases, 1)
            for name in self._state.kernels
            if self._share(name) < 1
        }
        return min(shares, key=shares.get) if shares else None

    def _share(self, name: str) -> float:
        tally = self._state.kernels[name].tally
        cases = tally.cases / max(self._asked.cases, 1)
        return min(cases, tally.elements / max(self._asked.elements, 1), 1.0)

    def _take(self, future: Future[Tally]) -> None:
        name, seed = self._pending.pop(future)
        progress = self._state.kernels[name]
        progress.tally.merge(future.result())
        progress.seeds.add(seed)
        self._state.save()

    def _show(self) -> None:
        tallies = [progress.tally for progress in self._state.kernels.values()]
        cases, elements = (sum(getattr(t, name) for t in tallies) for name in ("cases", "elements"))
        alarms = sum(len(tally.alarms) for tally in tallies)
        share = sum(map(self._share, self._state.kernels)) / len(tallies)
        said = f"{len(tallies)} kernels, {cases} cases, {elements:.3g} elements, {alarms} alarms"
        self._bar.update(self._task, completed=share, description=said)
        if not self._console.is_terminal and time.monotonic() - self._last_plain >= PLAIN_EVERY:
            self._last_plain = time.monotonic()
            self._console.print(f"false alarms: {said}; {share:.0%}")
