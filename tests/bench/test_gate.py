"""The speed gate on synthetic samples: equal runs are green, slower points red, noise is noise."""

import numpy as np
import pytest
from scipy import stats

from gptq_fuzz.bench import gate
from gptq_fuzz.bench.record import Measured
from gptq_fuzz.bench.verdicts import by_baseline, by_commit

PAIRS, DRAWS = 25, 200
SURE = 1e-9  # chance that a rate as promised is exceeded here
NOISES = {
    # (generator, shape) -> factors on a time, unrelated from sample to sample
    "2 %": lambda rng, shape: rng.lognormal(0, 0.02, shape),
    "10 %": lambda rng, shape: rng.lognormal(0, 0.10, shape),
    "40 %": lambda rng, shape: rng.lognormal(0, 0.40, shape),
    "spikes": lambda rng, shape: 1 + 0.01 * rng.pareto(1.5, shape),
    "two clocks": lambda rng, shape: rng.choice([1.0, 1.2], shape) * rng.lognormal(0, 0.01, shape),
}


def kinds(noise, factor, draws=DRAWS, seed=0):
    """Kinds of `draws` comparisons of two runs, the second `factor` times as slow."""
    rng = np.random.default_rng(seed)
    before, now = NOISES[noise](rng, (2, draws, PAIRS))
    judged = [gate.against_baseline(a, b) for a, b in zip(now * factor, before, strict=True)]
    return [one.kind for one in judged]


@pytest.mark.parametrize("noise", NOISES)
def test_equal_runs_are_red_no_more_often_than_promised(noise):
    found = kinds(noise, 1.0)
    allowed = stats.binom.isf(SURE, DRAWS, gate.ALPHA)
    assert found.count(gate.SLOWER) <= allowed
    assert found.count(gate.FASTER) <= allowed


@pytest.mark.parametrize("noise", ["2 %", "spikes"])
@pytest.mark.parametrize(("factor", "kind"), [(1.15, gate.SLOWER), (1 / 1.15, gate.FASTER)])
def test_a_point_slower_or_faster_by_15_percent_is_reported(noise, factor, kind):
    assert kinds(noise, factor, draws=50) == [kind] * 50


def test_a_difference_below_a_tenth_is_none_however_sure():
    judged = gate.against_baseline([1.08] * PAIRS, [1.0] * PAIRS)
    assert judged.kind == gate.SAME
    assert judged.p < gate.ALPHA


def test_a_large_difference_within_the_noise_is_none():
    now = [1.0] * 12 + [1.5] * 13
    before = [1.5] * 12 + [1.0] * 13
    judged = gate.against_baseline(now, before)
    assert judged.change == 1.5
    assert judged.kind == gate.SAME


def measured(kernel, cublas=(10e-6,) * PAIRS, other=(), config="C2"):
    return Measured(list(kernel), list(cublas), config, "graph", 3e-4, {}, {}, list(other), "C1")


def test_a_clock_that_falls_for_both_is_no_change():
    clock = np.linspace(1.0, 1.6, PAIRS)
    noise = np.random.default_rng(0).lognormal(0, 0.02, (3, PAIRS))
    slowed = measured(20e-6 * clock * noise[0], 10e-6 * clock * noise[1])
    assert gate.against_baseline(slowed.ratios, 2 * noise[2]).kind == gate.SAME


@pytest.mark.parametrize(("factor", "kind"), [(1.15, gate.SLOWER), (1.0, gate.SAME),
                                              (0.85, gate.FASTER)])  # fmt: skip
def test_pairs_with_another_commit(factor, kind):
    clock = np.linspace(1.0, 1.6, PAIRS)
    noise = np.random.default_rng(1).lognormal(0, 0.02, (2, PAIRS))
    both = measured(20e-6 * factor * clock * noise[0], other=20e-6 * clock * noise[1])
    gated = by_commit("triton", "m1-n4-k4-b8-gall", both, "main")
    assert gated.judgement.kind == kind
    for due in ("m1-n4-k4-b8-gall with triton", "with main (p", "launch config C2", "config C1"):
        assert due in gated.text


@pytest.mark.parametrize("noise", ["2 %", "40 %", "spikes"])
def test_equal_commits_are_red_no_more_often_than_promised(noise):
    rng = np.random.default_rng(2)
    ours, theirs = NOISES[noise](rng, (2, DRAWS, PAIRS))
    found = [gate.against_commit(ratios).kind for ratios in ours / theirs]
    assert found.count(gate.SLOWER) <= stats.binom.isf(SURE, DRAWS, gate.ALPHA)


def test_identical_times_are_the_same_and_too_few_are_refused():
    enough, few = [1.0] * PAIRS, [1.0] * (gate.LEAST_PAIRS - 1)
    assert gate.against_commit(enough).kind == gate.SAME
    for compare, *samples in (
        (gate.against_baseline, few, enough),
        (gate.against_baseline, enough, few),
        (gate.against_commit, few),
    ):
        with pytest.raises(ValueError, match="wants 20 pairs or more, got 19"):
            compare(*samples)


def test_a_point_that_the_baseline_lacks_is_not_gated():
    gated = by_baseline("triton", "m1-n4-k4-b8-gall", measured([1e-6] * PAIRS), "no baseline")
    assert gated == ((gate.NOT_GATED, 1.0, 1.0), "no baseline")
