"""The process that a kernel runs in, and the parent's side of it."""
