from tests.autotune.stub import benchmarks

__all__ = ["benchmarks"]
