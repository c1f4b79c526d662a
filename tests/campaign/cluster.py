"""A scheduler and workers of Dask, each a process that a test can kill."""

import os
import signal
import socket
import subprocess
import sys

from gptq_fuzz._checkout import ROOT


def environment():
    """Of every process: the checkout is found."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


class Cluster:
    """`workers` Dask workers without a nanny, so that one that is killed stays away."""

    def __init__(self, folder, workers=2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self._folder = folder
        place = ["--host", "127.0.0.1", "--port", self.address.rpartition(":")[2]]
        self.scheduler = self._start("scheduler", *place)
        alone = ["--nthreads", "1", "--no-nanny", "--memory-limit", "0"]
        self.workers = [self._start("worker", self.address, *alone) for _ in range(workers)]

    def _start(self, what, *words):
        return start(["-m", f"distributed.cli.dask_{what}", "--no-dashboard", *words], self._folder)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        for process in (*self.workers, self.scheduler):
            kill(process)


def start(words, folder):
    """A Python process, of a group of its own, with its output in a file of the folder."""
    with open(folder / "log.txt", "a") as log:
        return subprocess.Popen(
            [sys.executable, *words], cwd=folder, env=environment(), stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip


def kill(process):
    """SIGKILL, and wait."""
    process.send_signal(signal.SIGKILL)
    process.wait(10)
