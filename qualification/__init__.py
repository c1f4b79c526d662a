"""Commands that ask how good the suite is and what the kernels need: jobs of the night, not tests.

    python -m qualification.mutants       faulty versions of our code: does a test notice?
    python -m qualification.false_alarms  correct kernels that round differently: do they pass?
    python -m qualification.museum        faulty kernels: how soon are they caught?
    python -m qualification.aot           every kernel compiled for every architecture

Each prints what it found and writes the same as JSON to `results/`; none keeps any state.
"""
