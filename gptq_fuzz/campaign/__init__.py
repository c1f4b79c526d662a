"""Campaigns over many GPUs and machines, on Dask distributed."""
