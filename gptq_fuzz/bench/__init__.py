"""Benchmarks: what is timed, how, against what, and what a regression is."""

from gptq_fuzz._checkout import ROOT

BENCHMARKS = ROOT / "benchmarks"  # baselines of a checkout; an installed package has none
