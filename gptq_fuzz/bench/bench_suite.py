"""How many cases a second the suite judges: one worker, one launch a case, everything compiled."""

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.plugin.fixtures import backend
from gptq_fuzz.plugin.fixtures import over_kernels as pytest_generate_tests
from gptq_fuzz.search.fuzz import draw_round

__all__ = ["backend", "pytest_generate_tests"]

SEEDS = range(4)  # rounds of 50 cases, as a fuzz run draws them
ROUNDS = 3


def test_cases_per_second(backend, benchmark):
    drawn = [case for at in SEEDS for case in draw_round(backend, at)]
    judged = [case for case in drawn if backend.judge(case, ()).kind != kinds.SKIPPED]

    def judge_all():
        return [backend.judge(case, ()) for case in judged]

    verdicts = benchmark.pedantic(judge_all, rounds=ROUNDS)
    assert all(verdict.ok for verdict in verdicts)
    benchmark.extra_info["cases"] = len(judged)
    benchmark.extra_info["cases_per_second"] = len(judged) / benchmark.stats.stats.median
