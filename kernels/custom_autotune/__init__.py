"""Autotuner for Triton kernels, under the names of the original."""

from .autotuner import Autotuner, autotune
from .config_pruner import matmul248_kernel_config_pruner

__all__ = ["Autotuner", "autotune", "matmul248_kernel_config_pruner"]
