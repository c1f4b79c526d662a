"""Ahead-of-time compilation, without a GPU: what each kernel needs on each architecture.

`python -m qualification.aot` compiles every binary, prints what it needs and compares that with the tables
in `benchmarks/aot/`. Each module knows one thing:

    variants       which binaries there are                    jit        one of them, by Triton
    architectures  what an architecture has, what is too much  resources  what a binary needs
    build          all of them: cached, in parallel            isolate    processes that may die
    table          the committed text and the difference       summary    what a person reads
    nvcc           the CUDA kernels of the ExLlama extension
"""
