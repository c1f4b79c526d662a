"""Benchmarks: what is timed, how, against what, and what a regression is."""
