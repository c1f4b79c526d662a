"""Kernels that must be reported."""
