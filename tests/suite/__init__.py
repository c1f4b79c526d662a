"""Tests of the suite itself; none of them needs a GPU."""
