"""The conformance and fuzzing suite for GPTQ matmul kernels."""
