"""Which tests concern a file: by folder, the likeliest and the cheapest first."""

from __future__ import annotations

from pathlib import Path

# The first folder that fits: folders of tests, and built-in kernels that replay the suite's corpus.
PLANS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "kernels/custom_autotune": (("autotune",), ()),
    "kernels/exllama/ext": (("host_build", "exllama"), ("exllama",)),
    "kernels/exllama": (("exllama",), ()),
    "kernels": (("triton", "layers"), ("triton",)),
    "gptq_fuzz/bench": (("bench",), ()),
    "gptq_fuzz": (("suite",), ()),
}
LEFT_OUT = (  # what judges other kernels at length, or the tree, or compiles for itself
    "test_museum", "test_false_alarms", "test_imports", "test_bug_ids", "test_faults",
    "test_sanitized", "test_end_of_memory",
)  # fmt: skip
SLOW = (  # more than some ten seconds: for what all others let through
    "test_check", "test_command_line", "test_configs", "test_fingerprint", "test_machine",
    "test_missing", "test_modes", "test_packed_linear", "test_paths", "test_problem_file",
    "test_states", "test_uniform_groups", "test_worker",
)  # fmt: skip
PYTEST = ("-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", "-rfE")


def commands(path: str, root: Path) -> list[list[str]]:
    """What is run, up to the first failure, for a mutant of this file: words after `python -m`."""
    places, kernels = next(plan for folder, plan in PLANS.items() if path.startswith(f"{folder}/"))
    quick = [_files(path, place, root, slow=False) for place in places]
    slow = [_files(path, place, root, slow=True) for place in places]
    return [
        *(["pytest", *PYTEST, *files] for files in quick if files),
        *(["gptq_fuzz", *PYTEST, "--kernel", kernel, "-k", "corpus"] for kernel in kernels),
        *(["pytest", *PYTEST, *files] for files in slow if files),
    ]


def _files(path: str, place: str, root: Path, slow: bool) -> list[str]:
    """Test files, first those that are called as the mutated one."""
    found = sorted(root.glob(f"tests/{place}/test_*.py"))
    if not found:
        raise ValueError(f"tests/{place} holds no tests, {__name__} names it")
    wanted = [f for f in found if f.stem not in LEFT_OUT and (f.stem in SLOW) == slow]
    wanted.sort(key=lambda file: Path(path).stem not in file.stem)
    return [file.relative_to(root).as_posix() for file in wanted]
