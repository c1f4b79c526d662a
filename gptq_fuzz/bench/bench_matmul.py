"""How fast the kernels multiply: times on the device, beside cuBLAS, peers and an earlier run."""

import statistics

import pytest

from gptq_fuzz.bench import points
from gptq_fuzz.bench.gate import SLOWER
from gptq_fuzz.bench.inject import inject, shown_time
from gptq_fuzz.bench.plugin import points_of
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.plugin.fixtures import backend, over_kernels

__all__ = ["backend"]
CALLS = 100  # few enough that none waits for room in the stream's queue
US = 1e6


def pytest_generate_tests(metafunc):
    """(`backend`, `point`): each kernel on each problem that it promises to solve."""
    if "point" in metafunc.fixturenames:
        parameters = points_of(metafunc.config)
        metafunc.parametrize(("backend", "point"), parameters, indirect=["backend"])
    else:
        over_kernels(metafunc)


@pytest.mark.benchmark(timer=shown_time)
def test_matmul(backend, point, bench, benchmark):
    """Judged, timed in turn with cuBLAS, compared with the baseline or another commit."""
    verdict = backend.judge(point, ())
    if verdict.kind == kinds.SKIPPED:
        pytest.skip(verdict.message)
    assert verdict.ok, verdict.headline()
    measured = bench.measure(backend.spec, backend.launch.started_in, point)
    benchmark.group = bench.group_of(point)
    inject(benchmark, measured.seconds)
    gated = bench.judge(backend.spec, point, measured)
    benchmark.extra_info |= bench.keep(backend.spec, point, measured, verdict.used)
    benchmark.extra_info["gate"] = gated.judgement._asdict()
    if gated.judgement.kind == SLOWER:
        pytest.fail(gated.text, pytrace=False)


def test_host_cost_of_a_call(backend, bench, benchmark):
    """M = 1, 4 bits, 4096 x 4096: a layer called again and again, nothing waited for."""
    shape = (1, 4096, 4096) if bench.device.full_size else (1, *points.SMALL_LAYER)
    case = points.point(*shape)
    call, synchronize = bench.host_call(backend.spec, backend.launch.started_in, case)

    def calls():
        for _ in range(count):
            call()

    count = CALLS if bench.device.full_size else 1
    benchmark.pedantic(calls, setup=synchronize, rounds=bench.pairs, warmup_rounds=1)
    if benchmark.stats:
        median = statistics.median(benchmark.stats.stats.data)
        benchmark.extra_info["microseconds_per_call"] = round(median / count * US, 2)
