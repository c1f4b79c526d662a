"""Which cases are judged: drawn, paired, fuzzed, made smaller."""
