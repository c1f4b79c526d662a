"""pytest's side: options, what a run holds, and what it reports."""
