"""One problem as a line of text, what a kernel promises, and what can be said of it; no torch."""
