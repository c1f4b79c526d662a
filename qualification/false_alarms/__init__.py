"""Correct kernels that round differently, judged until a false alarm would have shown.

`python -m qualification.false_alarms` draws cases as a fuzz run does, from seed 0 on, and judges each as
the suite does: the value, everything around the call, and one further check. One chunk is one
kernel and one seed: 50 drawn cases, and two of them with so many rows that elements add up. The
kernels are those of gptq_fuzz/museum/correct, and `torch`, the control.

State file (`--state`, benchmarks/false_alarms.json), rewritten after every chunk:

    {"version": 1, "kernels": {NAME: {
        "digest": of the kernel's source and of all that judges; another one starts anew,
        "seeds": [[0, 199]], the chunks done, as ranges,
        "cases": judged, "elements": results judged in first calls, "seconds": of one core,
        "alarms": [{"line", "check", "said"}],
        "used": {FILL: {"short" or "long": [share of the bound used, line]}}}}}

"short" are single products and sums of at most 61 terms: the bound is the worst case there, and may
be reached. "long" ones are judged by a probability. The last rounding is left out of the share.

A run over all kernels ends by writing qualification/false_alarms/TABLE.md and README's figures from it.
"""
