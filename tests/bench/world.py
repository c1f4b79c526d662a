"""A pretended GPU: kernels run on the CPU, once; times come from a table and a seeded noise."""

import contextlib
import glob

import numpy as np
import pytest
import pytest_benchmark.plugin

from gptq_fuzz.bench import device as devices
from gptq_fuzz.bench.stopwatch import Stopwatch
from tests.runs import answer

CUBLAS, CUBLAS_SECONDS, SECONDS = "cuBLAS fp16", 12e-6, 20e-6
SPREAD = 0.02  # standard deviation of the logarithm of a time
GPU = "Pretended GPU"


class PretendedGpu:
    """Is compared as a GPU is; problems are small. `slower`: line -> factor of a kernel's time."""

    is_gpu, full_size = True, False
    least_seconds, working_set = 0.0, 0
    place = "cpu"

    def __init__(self, seed=0, slower=None, name=GPU):
        self.name, self.slower = name, slower or {}
        self._noise = np.random.default_rng(seed)
        self.line = ""  # being timed

    def recorded(self, calls):
        return lambda: None, devices.GRAPH

    def seconds(self, name, run):
        run()
        noise = self._noise.lognormal(0, SPREAD)
        if name == CUBLAS:
            return CUBLAS_SECONDS * noise
        return SECONDS * self.slower.get(self.line, 1.0) * noise

    def synchronize(self):
        """Nothing is ever under way."""


@contextlib.contextmanager
def pretending(options):
    """Within, this is the GPU that benchmarks run on; None: the CPU as it is."""
    if options is None:
        yield
        return
    device, opened, prepare = PretendedGpu(**options), devices.open_device, Stopwatch.prepare

    def noted(self, spec, started_in, case):
        device.line = str(case)
        return prepare(self, spec, started_in, case)._replace(config=f"C{options['seed']}")

    devices.open_device, Stopwatch.prepare = lambda wanted: device, noted
    yield
    devices.open_device, Stopwatch.prepare = opened, prepare


def run(question):
    """[options of the GPU, words for pytest]; without options no pretending. Words may be globs."""
    options, words = question
    with pretending(options):
        return pytest.main([found for word in words for found in glob.glob(word) or [word]])


if __name__ == "__main__":
    pytest_benchmark.plugin.get_cpu_info = dict  # asks other programs, for a second each time
    answer(run)
