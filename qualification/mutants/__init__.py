"""Faulty versions of this project's own code, and what notices each: `python -m qualification.mutants`."""
