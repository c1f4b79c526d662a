"""Environment variables by which a parent tells its worker something."""

UNTIMED = "GPTQ_FUZZ_UNTIMED"  # timings mean nothing: a sanitizer runs
