"""Autotuner for Triton kernels, under the names of the original."""

from .autotuner import Autotuner, Winner, autotune
from .config_pruner import matmul248_kernel_config_pruner

__all__ = ["Autotuner", "Winner", "autotune", "matmul248_kernel_config_pruner"]
