"""GPTQ kernels under test: a Triton one with its autotuner, and a CUDA extension."""
