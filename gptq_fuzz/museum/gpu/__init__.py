"""Faults that only a GPU shows: written in Triton, seen by compute-sanitizer."""
