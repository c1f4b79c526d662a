"""What surrounds a call, beside what the kernel is asked: a module for each condition.

Each has functions of an Examination that return its verdict, or None where the kernel is right
under the condition. The case is judged under none afterwards, so what a condition leaves shows.
"""
