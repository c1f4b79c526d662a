"""Which tests concern a file: by folder, the likeliest and the cheapest first."""

from __future__ import annotations

from pathlib import Path

# The first folder that fits: folders of tests, and built-in kernels that replay the suite's corpus.
PLANS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "kernels/custom_autotune": (("autotune",), ()),
    "kernels/exllama/ext": (("exllama", "host_build"), ("exllama",)),
    "kernels/exllama": (("exllama",), ()),
    "kernels": (("triton", "layers"), ("triton",)),
    "gptq_fuzz/bench": (("bench",), ()),
    "gptq_fuzz": (("suite",), ()),
}
LEFT_OUT = (  # what judges other kernels at length, or the tree, or compiles for itself
    "test_museum", "test_false_alarms", "test_imports", "test_bug_ids", "test_faults",
    "test_sanitized", "test_end_of_memory",
)  # fmt: skip
LAST = (  # of more than some ten seconds
    "test_build", "test_machine", "test_uniform_groups", "test_configs", "test_matmul248",
    "test_modes", "test_missing", "test_refusals", "test_fingerprint", "test_verdicts",
    "test_command_line",
)  # fmt: skip
PYTEST = ("-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", "-rfE")


def commands(path: str, root: Path) -> list[list[str]]:
    """What is run, up to the first failure, for a mutant of this file: words after `python -m`."""
    places, kernels = next(plan for folder, plan in PLANS.items() if path.startswith(f"{folder}/"))
    return [
        *(["pytest", *PYTEST, *_files(path, place, root)] for place in places),
        *(["gptq_fuzz", *PYTEST, "--kernel", kernel, "-k", "corpus"] for kernel in kernels),
    ]


def _files(path: str, place: str, root: Path) -> list[str]:
    """Test files; first those that are called as the mutated one, last those that take longest."""
    stem = Path(path).stem
    found = sorted(root.glob(f"tests/{place}/test_*.py"))
    found = [file for file in found if file.stem not in LEFT_OUT]
    if not found:
        raise ValueError(f"tests/{place} holds no tests, {__name__} names it")

    def rank(file: Path) -> int:
        return 0 if stem in file.stem else 2 + LAST.index(file.stem) if file.stem in LAST else 1

    return [file.relative_to(root).as_posix() for file in sorted(found, key=rank)]
