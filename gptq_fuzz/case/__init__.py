"""One problem as a line of text, what a kernel promises, and the verdict on it; no torch."""
