"""Ahead-of-time compilation, without a GPU: what each kernel needs on each architecture.

variants       which binaries there are                    jit        one of them, by Triton
architectures  what an architecture has, what is too much  resources  what a binary needs
build          all of them: cached, in processes that may die
nvcc           the CUDA kernels of the ExLlama extension
compare        the worst case of each kernel, and what got worse since another revision
"""
